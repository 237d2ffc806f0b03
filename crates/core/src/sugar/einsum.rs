//! Sums of products by the names of axes.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::op::{AxisList, movement};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The name of an axis: a letter, or one of the axes that `...` stands for, counted from the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Hidden(usize),
    Letter(char),
}

/// A tensor with names of its axes, each once.
struct Term {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Term {
    /// The axis of this name, which is one of its own.
    fn axis(&self, label: &Label) -> usize {
        self.labels.iter().position(|l| l == label).expect("its own name")
    }

    fn size(&self, label: &Label) -> usize {
        self.tensor.shape()[self.axis(label)]
    }

    /// One axis for each group of names.
    #[track_caller]
    fn grouped(&self, groups: [&[Label]; 3]) -> Tensor {
        let order: AxisList = groups.iter().flat_map(|group| group.iter()).map(|label| self.axis(label)).collect();
        let sizes: Shape = groups.iter().map(|group| group.iter().map(|l| self.size(l)).product()).collect();
        movement::reshape(&movement::permute(&self.tensor, order), sizes)
    }
}

impl Tensor {
    /// The sum of products that `equation` describes, in Einstein's notation as torch and numpy write it: the axes of
    /// each tensor named by letters, `"ij,jk->ik"`. Letters that are not behind the arrow are summed over, a letter
    /// twice in one tensor takes the diagonal, `...` stands for further axes, which broadcast. Without an arrow the
    /// result has what `...` stands for and the letters that occur once, in the order of the alphabet.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (a, b) = (Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]), Tensor::from([[1.0f32, 0.0], [1.0, 1.0]]));
    /// assert_eq!(Tensor::einsum("ij,jk->ik", &[&a, &b]).to_vec::<f32>()?, [3.0, 2.0, 7.0, 4.0]);
    /// assert_eq!(Tensor::einsum("ii", &[&a]).item()?, 5.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: an equation that does not fit the tensors, sizes of one name that differ and are not 1.
    #[track_caller]
    pub fn einsum(equation: &str, tensors: &[&Tensor]) -> Tensor {
        match parse(equation, tensors) {
            Ok((labels, result)) => product_of(tensors, labels, &result),
            Err(what) => {
                let dtype = tensors.first().map_or(limpid_kernels::DType::F32, |t| t.dtype());
                Tensor::fail(Error::new(format!("einsum: {what}")), tensors, Shape::scalar(), dtype)
            }
        }
    }
}

/// The names of the axes of each tensor, and of the result.
fn parse(equation: &str, tensors: &[&Tensor]) -> Result<(Vec<Vec<Label>>, Vec<Label>), String> {
    let plain: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match plain.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (&plain[..], None),
    };
    let sides: Vec<&str> = left.split(',').collect();
    if tensors.is_empty() || sides.len() != tensors.len() {
        return Err(format!("{equation:?} names {} tensors, {} are given", sides.len(), tensors.len()));
    }
    if let Some(t) = tensors.iter().find(|t| t.dtype() != tensors[0].dtype()) {
        return Err(format!("tensors of {} and {}", tensors[0].dtype(), t.dtype()));
    }
    let mut labels = Vec::new();
    let mut sizes: BTreeMap<Label, usize> = BTreeMap::new();
    for (side, t) in sides.iter().zip(tensors) {
        let letters = side.replacen("...", "", 1).chars().count();
        let open = if side.contains("...") { t.rank().checked_sub(letters) } else { Some(0) };
        let named = expand(side, open.unwrap_or(0)).map_err(|c| format!("{c:?} in {equation:?} is no letter"))?;
        if open.is_none() || named.len() != t.rank() {
            return Err(format!("{side:?} names {letters} axes of a tensor of shape {}", t.shape()));
        }
        if let Some((i, j)) = twice(&named).filter(|&(i, j)| t.shape()[i] != t.shape()[j]) {
            let name = shown(named[i]);
            return Err(format!("{name} is named twice in {side:?}, with sizes {} and {}", t.shape()[i], t.shape()[j]));
        }
        for (&label, &size) in named.iter().zip(t.shape().iter()) {
            let known = sizes.entry(label).or_insert(size);
            if *known != size && *known != 1 && size != 1 {
                return Err(format!("{} has sizes {known} and {size} in {equation:?}", shown(label)));
            }
            *known = if *known == 1 { size } else { *known };
        }
        labels.push(named);
    }
    let hidden = sizes.keys().filter(|label| matches!(label, Label::Hidden(_))).count();
    let result = match right {
        Some(right) => expand(right, hidden).map_err(|c| format!("{c:?} in {equation:?} is no letter"))?,
        None => {
            let once = |label: &&Label| labels.iter().flatten().filter(|other| other == label).count() == 1;
            let letters = sizes.keys().filter(|label| matches!(label, Label::Letter(_))).filter(once);
            (0..hidden).rev().map(Label::Hidden).chain(letters.copied()).collect()
        }
    };
    for (i, label) in result.iter().enumerate() {
        if result[..i].contains(label) {
            return Err(format!("{} is twice in the result of {equation:?}", shown(*label)));
        }
        if !sizes.contains_key(label) {
            return Err(format!("{} of the result of {equation:?} is in no tensor", shown(*label)));
        }
    }
    Ok((labels, result))
}

fn shown(label: Label) -> String {
    match label {
        Label::Letter(c) => format!("axis {c:?}"),
        Label::Hidden(i) => format!("axis -{} of \"...\"", i + 1),
    }
}

/// The names that one side stands for, where `...` is `open` axes; the character that is no name.
fn expand(side: &str, open: usize) -> Result<Vec<Label>, char> {
    let (before, behind) = match side.split_once("...") {
        Some((before, behind)) => (before, Some(behind)),
        None => (side, None),
    };
    let letter = |c: char| if c.is_ascii_alphabetic() { Ok(Label::Letter(c)) } else { Err(c) };
    let mut labels: Vec<Label> = before.chars().map(letter).collect::<Result<_, _>>()?;
    if let Some(behind) = behind {
        labels.extend((0..open).rev().map(Label::Hidden));
        labels.extend(behind.chars().map(letter).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(labels)
}

/// Multiplies from left to right; a name is summed over as soon as nothing behind needs it.
#[track_caller]
fn product_of(tensors: &[&Tensor], labels: Vec<Vec<Label>>, result: &[Label]) -> Tensor {
    let mut terms = Vec::new();
    for (t, labels) in tensors.iter().zip(labels) {
        terms.push(diagonals(Term { tensor: (*t).clone(), labels }));
    }
    let mut terms = terms.into_iter();
    let mut all = terms.next().expect("at least one tensor");
    while let Some(next) = terms.next() {
        let rest = terms.as_slice();
        let needed = |label: &Label| result.contains(label) || rest.iter().any(|term| term.labels.contains(label));
        all = multiply(all, next, &needed);
    }
    let all = summed(all, &|label| !result.contains(label));
    if all.tensor.error().is_some() {
        return all.tensor;
    }
    let place = |label: &Label| all.labels.iter().position(|l| l == label).expect("named in a tensor");
    movement::permute(&all.tensor, result.iter().map(place).collect())
}

/// The diagonal of axes that share a name.
#[track_caller]
fn diagonals(mut term: Term) -> Term {
    while let Some((i, j)) = twice(&term.labels) {
        term.tensor = term.tensor.diagonal(0, i as isize, j as isize);
        let label = term.labels[i];
        term.labels.remove(j);
        term.labels.remove(i);
        term.labels.push(label);
    }
    term
}

/// The first two places of one name.
fn twice(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|j| Some((labels[..j].iter().position(|l| *l == labels[j])?, j)))
}

/// The term summed over the names that `drop` chooses.
#[track_caller]
fn summed(term: Term, drop: &dyn Fn(&Label) -> bool) -> Term {
    let axes: Vec<isize> = (0..term.labels.len()).filter(|&i| drop(&term.labels[i])).map(|i| i as isize).collect();
    if axes.is_empty() {
        return term;
    }
    let labels = term.labels.iter().copied().filter(|label| !drop(label)).collect();
    Term { tensor: term.tensor.sum(&axes[..]), labels }
}

/// The product of two terms, summed over the names that are not needed any more: a batched matrix product.
#[track_caller]
fn multiply(a: Term, b: Term, needed: &dyn Fn(&Label) -> bool) -> Term {
    let a_names = a.labels.clone();
    let a = summed(a, &|label| !needed(label) && !b.labels.contains(label));
    let b = summed(b, &|label| !needed(label) && !a_names.contains(label));
    let (a, b) = stretched(a, b);
    let shared = |label: &&Label| b.labels.contains(label);
    let batch: Vec<Label> = a.labels.iter().filter(shared).filter(|l| needed(l)).copied().collect();
    let inner: Vec<Label> = a.labels.iter().filter(shared).filter(|l| !needed(l)).copied().collect();
    let rows: Vec<Label> = a.labels.iter().filter(|l| !b.labels.contains(l)).copied().collect();
    let columns: Vec<Label> = b.labels.iter().filter(|l| !a.labels.contains(l)).copied().collect();
    let (x, y) = (a.grouped([&batch, &rows, &inner]), b.grouped([&batch, &inner, &columns]));
    // Without a sum the product is one of elements, which integers and all types have.
    let product = if inner.is_empty() { x * y } else { x.matmul(&y) };
    let sizes = batch.iter().chain(&rows).map(|l| a.size(l)).chain(columns.iter().map(|l| b.size(l)));
    let shape: Shape = sizes.collect();
    let tensor = if product.error().is_some() { product } else { movement::reshape(&product, shape) };
    Term { tensor, labels: batch.into_iter().chain(rows).chain(columns).collect() }
}

/// Both terms with equal sizes of the names that they share: 1 stretches.
#[track_caller]
fn stretched(a: Term, b: Term) -> (Term, Term) {
    let wide = |term: &Term, other: &Term| -> Shape {
        let size = |(i, label): (usize, &Label)| {
            let theirs = other.labels.iter().position(|l| l == label).map_or(1, |j| other.tensor.shape()[j]);
            if term.tensor.shape()[i] == 1 { theirs } else { term.tensor.shape()[i] }
        };
        term.labels.iter().enumerate().map(size).collect()
    };
    let (x, y) = (wide(&a, &b), wide(&b, &a));
    let (x, y) = (movement::broadcast(&a.tensor, &x), movement::broadcast(&b.tensor, &y));
    (Term { tensor: x, ..a }, Term { tensor: y, ..b })
}
