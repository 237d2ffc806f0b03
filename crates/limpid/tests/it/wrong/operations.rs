//! Operations of tensors.

use limpid::prelude::*;
use limpid::{DType, Index};

use super::{Wrong, wrong};

fn matrix() -> Tensor {
    Tensor::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]])
}

fn vector() -> Tensor {
    Tensor::from([1.0f32, 2.0, 3.0])
}

fn whole() -> Tensor {
    Tensor::from([1i64, 2, 3])
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "einsum: more tensors than names",
        || Ok(Tensor::einsum("ij", &[&matrix(), &vector()])),
        &["einsum", "1", "2"],
    ),
    wrong(
        "einsum: more names than axes",
        || Ok(Tensor::einsum("ijk->i", &[&matrix()])),
        &["einsum", "3 axes", "[2, 3]"],
    ),
    wrong(
        "einsum: two sizes of one name",
        || Ok(Tensor::einsum("ij,ij->", &[&matrix(), &Tensor::zeros([2, 4])])),
        &["'j'", "3 and 4"],
    ),
    wrong("einsum: a result that no tensor names", || Ok(Tensor::einsum("ij->k", &[&matrix()])), &["'k'", "no tensor"]),
    wrong("einsum: a name twice in the result", || Ok(Tensor::einsum("ij->ii", &[&matrix()])), &["'i'", "twice"]),
    wrong("einsum: a digit as a name", || Ok(Tensor::einsum("i1->i", &[&matrix()])), &["'1'", "no letter"]),
    wrong("einsum: a diagonal of a rectangle", || Ok(Tensor::einsum("ii->i", &[&matrix()])), &["'i'", "2 and 3"]),
    wrong(
        "einsum: two types",
        || Ok(Tensor::einsum("i,i->", &[&vector(), &vector().to_dtype(DType::F64)])),
        &["f32", "f64"],
    ),
    wrong(
        "addmm: inner sizes differ",
        || Ok(vector().addmm(&matrix(), &matrix(), 1.0, 1.0)),
        &["[2, 3] × [2, 3]", "3 ≠ 2"],
    ),
    wrong(
        "addmm: self does not stretch to the product",
        || Ok(Tensor::zeros([4]).addmm(&matrix(), &matrix().t(), 1.0, 1.0)),
        &["addmm", "[4]", "[2, 2]"],
    ),
    wrong("addmm: a batch", || Ok(vector().addmm(&Tensor::zeros([1, 2, 3]), &matrix(), 1.0, 1.0)), &["a matrix"]),
    wrong(
        "addmm: a fraction of integers",
        || Ok(whole().narrow(0, 0, 1).addmm(&whole().unsqueeze(0), &whole().unsqueeze(1), 0.5, 1.0)),
        &["addmm", "0.5", "i64"],
    ),
    wrong(
        "baddbmm: batches that would broadcast",
        || Ok(Tensor::zeros([2, 2, 2]).baddbmm(&Tensor::zeros([1, 2, 3]), &Tensor::zeros([2, 3, 2]), 1.0, 1.0)),
        &["baddbmm", "batches of 1 and 2"],
    ),
    wrong("outer: a matrix", || Ok(matrix().outer(&vector())), &["outer", "[2, 3]", "a vector"]),
    wrong("inner: last sizes differ", || Ok(matrix().inner(&Tensor::zeros([2]))), &["inner", "[2, 3] and [2]"]),
    wrong("cross: size 2", || Ok(matrix().cross(&matrix(), 0)), &["cross", "not 3"]),
    wrong("tensordot: sizes differ", || Ok(matrix().tensordot(&matrix(), ([1], [0]))), &["tensordot", "3 ≠ 2"]),
    wrong("tensordot: more axes than there are", || Ok(matrix().tensordot(&vector(), 2)), &["tensordot", "2 axes"]),
    wrong("diag: three axes", || Ok(Tensor::zeros([2, 2, 2]).diag(0)), &["diag", "diag_embed"]),
    wrong("diagonal: one axis twice", || Ok(matrix().diagonal(0, 1, -1)), &["diagonal", "are the same"]),
    wrong("trace: a vector", || Ok(vector().trace()), &["trace", "no matrix"]),
    wrong("unbind: a scalar", || Ok(Tensor::from(1.0f32).unbind(0).swap_remove(0)), &["unbind", "axis 0"]),
    wrong("meshgrid: a matrix", || Ok(Tensor::meshgrid(&[&matrix()], "ij").swap_remove(0)), &["meshgrid", "[2, 3]"]),
    wrong("meshgrid: another indexing", || Ok(Tensor::meshgrid(&[&vector()], "yx").swap_remove(0)), &["\"yx\""]),
    wrong("movedim: one axis twice", || Ok(matrix().movedim(&[0, 0], &[0, 1])), &["movedim", "[0, 0]"]),
    wrong("rot90: one axis twice", || Ok(matrix().rot90(1, [1, 1])), &["rot90", "no plane"]),
    wrong(
        "repeat_interleave: too few repeats",
        || Ok(matrix().repeat_interleave(Tensor::from([1i64, 2]), Some(1))),
        &["repeat_interleave", "2 repeats"],
    ),
    wrong("repeat_interleave: less than none", || Ok(vector().repeat_interleave(-1, None)), &["-1 repeats"]),
    wrong("column_stack: other rows", || Ok(Tensor::column_stack(&[&matrix(), &vector()])), &["[2, 3]", "[3, 1]"]),
    wrong("index: a place out of range", || Ok(matrix().index((0, 3))), &["3 of axis 0 of size 3"]),
    wrong("index: places out of range", || Ok(matrix().index((.., [0, 7]))), &["index 7", "size 3"]),
    wrong(
        "index: the second of two places",
        || Ok(matrix().index(([0, 1], [0, -9]))),
        &["index -9", "axis 1 of size 3"],
    ),
    wrong("index: more items than axes", || Ok(matrix().index((0, 0, 0))), &["3 axes", "[2, 3]"]),
    wrong("index: two ellipses", || Ok(matrix().index((Index::Ellipsis, Index::Ellipsis))), &["ellipsis"]),
    wrong("index: a mask of other sizes", || Ok(matrix().index(vector().gt(0.0))), &["mask [3]", "[2]"]),
    wrong("index: floats", || Ok(matrix().index(vector())), &["f32", "integers"]),
    wrong("index: places that do not broadcast", || Ok(matrix().index(([0, 1], [0, 1, 2]))), &["[2], [3]"]),
    wrong(
        "index_put: values that do not stretch",
        || Ok(matrix().index_put([0, 1], vector().narrow(0, 0, 2), false)),
        &["[2]", "[2, 3]"],
    ),
    wrong("index_select: as it was written", || Ok(matrix().index_select(0, &Tensor::from([-9i64]))), &["index -9"]),
    wrong(
        "index_add: a source of other sizes",
        || Ok(matrix().index_add(0, &Tensor::from([0i64]), &matrix(), 1.0)),
        &["index_add", "[2, 3]"],
    ),
    wrong(
        "index_copy: an index of floats",
        || Ok(matrix().index_copy(0, &vector(), &matrix())),
        &["index_copy", "f32"],
    ),
    wrong(
        "scatter_reduce: another reduction",
        || Ok(vector().scatter_reduce(0, &Tensor::from([0i64]), 1.0, "max", true)),
        &["\"max\"", "\"amax\""],
    ),
    wrong(
        "take_along_dim: other axes",
        || Ok(matrix().take_along_dim(&Tensor::from([0i64]), Some(0))),
        &["take_along_dim"],
    ),
    wrong(
        "masked_scatter: too few elements",
        || Ok(vector().masked_scatter(&vector().gt(0.0), &vector().narrow(0, 0, 2))),
        &["index 3", "size 3"],
    ),
    wrong(
        "select_scatter: a source of other sizes",
        || Ok(matrix().select_scatter(&vector(), 1, 0)),
        &["select_scatter", "[3]", "[2]"],
    ),
    wrong(
        "slice_scatter: a source of other sizes",
        || Ok(matrix().slice_scatter(&vector(), 0, None, None, 1)),
        &["slice_scatter"],
    ),
    wrong("quantile: above 1", || Ok(vector().quantile(1.5, .., "linear")), &["quantile", "1.5"]),
    wrong("quantile: another interpolation", || Ok(vector().quantile(0.5, .., "cubic")), &["\"cubic\"", "\"linear\""]),
    wrong("quantile: of integers", || Ok(whole().quantile(0.5, .., "linear")), &["quantile", "i64"]),
    wrong("kthvalue: beyond the last", || Ok(vector().kthvalue(4, 0).0), &["number 4 of 3"]),
    wrong("median: of no element", || Ok(Tensor::zeros([2, 0]).median(1).0), &["median", "[2, 0]"]),
    wrong("histc: from high to low", || Ok(vector().histc(3, 2.0, 1.0)), &["3 bins from 2 to 1"]),
    wrong("renorm: a vector", || Ok(vector().renorm(2.0, 0, 1.0)), &["renorm", "[3]"]),
    wrong("searchsorted: another type", || Ok(vector().searchsorted(whole(), false, None)), &["i64", "f32"]),
    wrong("searchsorted: other rows", || Ok(matrix().searchsorted(vector(), false, None)), &["[3]", "[2, 3]"]),
    wrong("bucketize: boundaries of two axes", || Ok(vector().bucketize(&matrix(), false)), &["no vector"]),
    wrong("unique: no such axis", || Ok(matrix().unique_with(Some(2)).values), &["unique", "axis 2"]),
    wrong(
        "trapezoid: places of another number",
        || Ok(vector().trapezoid(Tensor::zeros([2]), -1)),
        &["trapezoid", "[2]", "[3]"],
    ),
    wrong("atan2: sizes that do not broadcast", || Ok(vector().atan2(Tensor::zeros([2]))), &["atan2", "[3] and [2]"]),
    wrong("lerp: of integers", || Ok(whole().lerp(&whole(), 0.5)), &["lerp", "i64"]),
    wrong("add_with: a fraction of integers", || Ok(whole().add_with(whole(), 0.5)), &["alpha 0.5"]),
    wrong("addcdiv: of integers", || Ok(whole().addcdiv(&whole(), &whole(), 1)), &["addcdiv", "i64"]),
    wrong("isclose: a tolerance below 0", || Ok(vector().isclose(&vector(), -1.0, 0.0, false)), &["-1"]),
    wrong("combinations: of a matrix", || Ok(matrix().combinations(2, false)), &["combinations"]),
    wrong("narrow: beyond the end", || Ok(vector().narrow(0, -2, 3)), &["3 elements from -2", "size 3"]),
];
