use limpid_kernels::DType;
use limpid_kernels::fold::overlap_add;

use super::*;

#[test]
fn overlap_add_equals_a_plain_loop() {
    let mut random = Random(31);
    // outer, windows, inner, k, stride, dilation, len
    let cases = [
        [1, 0, 1, 3, 1, 1, 4],
        [0, 2, 1, 3, 1, 1, 4],
        [2, 3, 0, 2, 1, 1, 9],
        [2, 3, 2, 0, 1, 1, 5],
        [1, 1, 1, 1, 1, 1, 1],
        [2, 5, 1, 3, 2, 1, 11],
        [2, 5, 3, 3, 2, 1, 12],
        [3, 4, 7, 5, 3, 2, 20],
        [1, 30_000, 1, 7, 1, 1, 30_006],
        [1, 9_000, 5, 3, 4, 2, 36_004],
        [70, 20, 16, 3, 1, 3, 26],
        [2, 4, 3, 2, 7, 1, 40],
    ];
    for [outer, windows, inner, k, stride, dilation, len] in cases {
        for dtype in DType::ALL {
            let src = random.whole(dtype, outer * windows * inner * k);
            let mut expected = vec![0f64; outer * len * inner];
            for (at, &x) in coordinates(&[outer, windows, inner, k]).iter().zip(&src) {
                let [o, p, i, j] = at[..] else { unreachable!() };
                let sum = &mut expected[(o * len + p * stride + j * dilation) * inner + i];
                *sum = if dtype == DType::Bool { sum.max(x) } else { *sum + x };
            }
            let src = put(dtype, &src);
            let out = same_on_all_threads(expected.len() * dtype.size(), |cpu, out| {
                let (src, out) = (view(dtype, &src), view_mut(dtype, out));
                overlap_add(cpu, outer, windows, inner, k, stride, dilation, len, src, out);
            });
            assert_eq!(take(dtype, &out), expected, "{dtype} {windows} windows of {k} by {stride}");
        }
    }
}

#[test]
#[should_panic(expected = "a window ends after the end")]
fn windows_stay_inside() {
    let mut out = [0f32; 4];
    overlap_add(&Cpu::new(None, 1), 1, 2, 1, 3, 2, 1, 4, Slice::of(&[0f32; 6]), SliceMut::of(&mut out));
}
