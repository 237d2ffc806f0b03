//! Sequences of different lengths in one batch: `torch.nn.utils.rnn`.

use limpid_core::{DType, Error, Shape, Tensor};

use crate::nn::failed;

/// The lengths of the sequences of a batch: numbers, or a tensor of whole numbers of any type, which is read.
#[derive(Clone, Debug)]
pub enum Lengths {
    /// One integer for each sequence.
    Numbers(Vec<i64>),
    /// Whole numbers `[batch]`.
    Tensor(Tensor),
}

impl From<&Tensor> for Lengths {
    fn from(lengths: &Tensor) -> Lengths {
        Lengths::Tensor(lengths.clone())
    }
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl From<&[$t]> for Lengths {
            fn from(lengths: &[$t]) -> Lengths {
                Lengths::Numbers(lengths.iter().map(|&n| n as i64).collect())
            }
        }
        impl From<Vec<$t>> for Lengths {
            fn from(lengths: Vec<$t>) -> Lengths {
                Lengths::from(&lengths[..])
            }
        }
        impl<const N: usize> From<[$t; N]> for Lengths {
            fn from(lengths: [$t; N]) -> Lengths {
                Lengths::from(&lengths[..])
            }
        }
    )*};
}
numbers!(usize, i64, i32);

impl Lengths {
    /// The numbers, each from `least`.
    fn read(&self, name: &str, least: i64) -> Result<Vec<usize>, Error> {
        let numbers = match self {
            Lengths::Numbers(numbers) => numbers.clone(),
            Lengths::Tensor(t) => {
                let whole = t.rank() == 1 && t.dtype() != DType::Bool;
                let broken = t.to_vec::<f64>()?.into_iter().find(|n| n.fract() != 0.0);
                if broken.is_some() || !whole {
                    let broken = broken.map_or_else(String::new, |n| format!(" with {n}"));
                    let what =
                        format!("{name}: the lengths are {} {}{broken}, not integers [batch]", t.dtype(), t.shape());
                    return Err(Error::new(what));
                }
                t.to_vec::<i64>()?
            }
        };
        match numbers.iter().position(|&n| n < least) {
            Some(i) => {
                let what = format!("{name}: length {i} is {}, the least is {least}", numbers[i]);
                Err(Error::new(what).help("leaving empty sequences out"))
            }
            None => Ok(numbers.into_iter().map(|n| n as usize).collect()),
        }
    }
}

/// The order in which the sequences of a batch stand, and the way back.
#[derive(Clone, Debug)]
struct Order {
    sorted: Vec<i64>,
    unsorted: Vec<i64>,
}

impl Order {
    fn new(sorted: Vec<i64>) -> Order {
        let mut unsorted = vec![0; sorted.len()];
        sorted.iter().enumerate().for_each(|(i, &at)| unsorted[at as usize] = i as i64);
        Order { sorted, unsorted }
    }
}

/// Sequences of different lengths, longest first: what a recurrent layer runs over without computing what is behind
/// their ends.
///
/// Torch keeps the steps one after the other, all first steps, then all second ones: [`PackedSequence::data`] gives
/// them so. Here they stand padded, so that other lengths are no other plan.
///
/// ```
/// use limpid::prelude::*;
/// let x = Tensor::from([[1i64, 2, 0], [3, 0, 0], [4, 5, 6]]);
/// let packed = pack_padded_sequence(&x, [2, 1, 3], true, false);
/// assert_eq!(packed.data().to_vec::<i64>()?, [4, 1, 3, 5, 2, 6]);
/// assert_eq!(packed.batch_sizes().to_vec::<i64>()?, [3, 2, 1]);
/// assert_eq!(packed.sorted_indices().unwrap().to_vec::<i64>()?, [2, 0, 1]);
/// let (back, lengths) = pad_packed_sequence(&packed, true, 0.0, None);
/// assert_eq!(back.to_vec::<i64>()?, x.to_vec::<i64>()?);
/// assert_eq!(lengths.to_vec::<i64>()?, [2, 1, 3]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PackedSequence {
    /// `[T, B, …]`, sorted, 0 behind the ends; it carries the error, where there is one.
    steps: Tensor,
    /// Sorted, longest first.
    lengths: Vec<usize>,
    order: Option<Order>,
}

fn indices(numbers: &[i64]) -> Tensor {
    Tensor::from_slice(numbers, [numbers.len()])
}

/// `x` with the places of axis 1 in this order.
#[track_caller]
fn ordered(x: &Tensor, order: &[i64]) -> Tensor {
    x.index_select(1, &indices(order))
}

/// Whether step t of sequence b is inside: bool `[T, B, 1 …]` with `rank` axes.
#[track_caller]
fn inside(lengths: &[usize], steps: usize, rank: usize) -> Tensor {
    let lengths: Vec<i64> = lengths.iter().map(|&n| n as i64).collect();
    let mask = Tensor::arange(0, steps as i64, 1).unsqueeze(1).lt(indices(&lengths).unsqueeze(0));
    let shape: Vec<isize> = (0..rank).map(|i| if i < 2 { mask.shape()[i] as isize } else { 1 }).collect();
    mask.reshape_dims(&shape)
}

impl PackedSequence {
    /// Steps as torch packs them: `data` `[Σ batch_sizes, …]`, where `batch_sizes[t]` of the sequences have a step t; and
    /// which sequence of the batch stands where, if they were sorted.
    #[track_caller]
    pub fn new(data: &Tensor, batch_sizes: impl Into<Lengths>, sorted_indices: Option<&Tensor>) -> PackedSequence {
        let sizes = match batch_sizes.into().read("PackedSequence", 1) {
            Ok(sizes) => sizes,
            Err(error) => return PackedSequence::failed(error, data),
        };
        let falling = sizes.windows(2).all(|pair| pair[0] >= pair[1]);
        let rows: usize = sizes.iter().sum();
        if sizes.is_empty() || !falling || data.rank() == 0 || data.size(0) != rows {
            let what = format!("PackedSequence: data {} and batch sizes {sizes:?} do not fit", data.shape());
            let error = Error::new(what).help("batch sizes that fall and whose sum is the number of rows");
            return PackedSequence::failed(error, data);
        }
        let lengths = (0..sizes[0]).map(|b| sizes.iter().filter(|&&size| size > b).count()).collect();
        let order = match sorted_indices.map(|t| permutation(t, sizes[0])) {
            Some(Err(error)) => return PackedSequence::failed(error, data),
            Some(Ok(sorted)) => Some(Order::new(sorted)),
            None => None,
        };
        PackedSequence { steps: data.clone(), lengths, order }.with_data(data)
    }

    /// Other steps for the same lengths and order: `packed.with_data(&layer.forward(&packed.data()))`.
    #[track_caller]
    pub fn with_data(&self, data: &Tensor) -> PackedSequence {
        let rows: usize = self.lengths.iter().sum();
        if data.rank() == 0 || data.size(0) != rows || self.steps.error().is_some() {
            let what = format!("PackedSequence: data {} for {rows} steps", data.shape());
            let error = self.steps.error().unwrap_or_else(|| Error::new(what));
            return PackedSequence { steps: failed(error, data, data.shape()), ..self.clone() };
        }
        // What is outside reads a row of zeros behind the last one.
        let (steps, batch) = (self.lengths.first().copied().unwrap_or(0), self.lengths.len());
        let mut at = vec![rows as i64; steps * batch];
        self.places().into_iter().enumerate().for_each(|(row, place)| at[place as usize] = row as i64);
        let shape: Vec<isize> = [steps, batch].iter().chain(&data.shape()[1..]).map(|&n| n as isize).collect();
        let padded = data.pad(0, 0, 1, 0.0).index_select(0, &indices(&at)).reshape_dims(&shape);
        PackedSequence { steps: padded, ..self.clone() }
    }

    /// Where the packed rows stand among the padded ones.
    fn places(&self) -> Vec<i64> {
        let batch = self.lengths.len();
        let steps = self.lengths.first().copied().unwrap_or(0);
        let of_step = |t: usize| (0..batch).filter(move |&b| self.lengths[b] > t).map(move |b| (t * batch + b) as i64);
        (0..steps).flat_map(of_step).collect()
    }

    #[track_caller]
    fn failed(error: Error, like: &Tensor) -> PackedSequence {
        PackedSequence { steps: failed(error, like, like.shape()), lengths: Vec::new(), order: None }
    }

    /// All steps, one after the other, without padding: `[Σ lengths, …]`.
    #[track_caller]
    pub fn data(&self) -> Tensor {
        if self.steps.error().is_some() {
            return self.steps.clone();
        }
        let count = self.steps.size(0) * self.steps.size(1);
        let rows: Vec<isize> = [count].iter().chain(&self.steps.shape()[2..]).map(|&size| size as isize).collect();
        self.steps.reshape_dims(&rows).index_select(0, &indices(&self.places()))
    }

    /// How many sequences have a step t: i64 `[T]`.
    #[track_caller]
    pub fn batch_sizes(&self) -> Tensor {
        if let Some(error) = self.steps.error() {
            return Tensor::fail(error, &[&self.steps], Shape::from([1]), DType::I64);
        }
        let steps = self.lengths.first().copied().unwrap_or(0);
        let sizes: Vec<i64> = (0..steps).map(|t| self.lengths.iter().filter(|&&len| len > t).count() as i64).collect();
        indices(&sizes)
    }

    /// Which sequence of the batch stands at each place, where they were sorted.
    pub fn sorted_indices(&self) -> Option<Tensor> {
        self.order.as_ref().map(|order| indices(&order.sorted))
    }

    /// The place of each sequence of the batch, where they were sorted.
    pub fn unsorted_indices(&self) -> Option<Tensor> {
        self.order.as_ref().map(|order| indices(&order.unsorted))
    }
}

/// The elements of `t` as an order of `batch` sequences.
fn permutation(t: &Tensor, batch: usize) -> Result<Vec<i64>, Error> {
    let numbers = t.to_vec::<i64>()?;
    let mut all = numbers.clone();
    all.sort_unstable();
    if t.dtype().is_float() || all != (0..batch as i64).collect::<Vec<_>>() {
        let what = format!("PackedSequence: sorted_indices {numbers:?} are no order of {batch} sequences");
        return Err(Error::new(what));
    }
    Ok(numbers)
}

/// Packs padded sequences `[T, B, …]`, with `batch_first` `[B, T, …]`, of these lengths, each from 1 to T. With
/// `enforce_sorted` (torch's default) the lengths must fall; without, the sequences are sorted, and what comes out is
/// put back in order.
///
/// Torch's `pack_padded_sequence`. The lengths are read.
#[track_caller]
pub fn pack_padded_sequence(
    input: &Tensor,
    lengths: impl Into<Lengths>,
    batch_first: bool,
    enforce_sorted: bool,
) -> PackedSequence {
    let name = "pack_padded_sequence";
    if input.error().is_some() {
        return PackedSequence { steps: input.clone(), lengths: Vec::new(), order: None };
    }
    if input.rank() < 2 {
        let what = format!("{name}: the input {} has no axes of steps and batch", input.shape());
        return PackedSequence::failed(Error::new(what), input);
    }
    let lengths = match lengths.into().read(name, 1) {
        Ok(lengths) => lengths,
        Err(error) => return PackedSequence::failed(error, input),
    };
    let x = if batch_first { input.transpose(0, 1) } else { input.clone() };
    let (steps, batch) = (x.shape()[0], x.shape()[1]);
    if lengths.len() != batch || batch == 0 {
        let what = format!("{name}: {} lengths for a batch of {batch}, input {}", lengths.len(), input.shape());
        let help =
            if batch_first { "[B, T, …] with batch_first" } else { "[T, B, …], or batch_first for [B, T, …]" };
        return PackedSequence::failed(Error::new(what).help(help), input);
    }
    if let Some(i) = lengths.iter().position(|&n| n > steps) {
        let what = format!("{name}: length {i} is {}, the input {} has {steps} steps", lengths[i], input.shape());
        return PackedSequence::failed(Error::new(what), input);
    }
    let falling = lengths.windows(2).all(|pair| pair[0] >= pair[1]);
    if enforce_sorted && !falling {
        let what = format!("{name}: the lengths do not fall: {lengths:?}");
        return PackedSequence::failed(Error::new(what).help("enforce_sorted false, which sorts them"), input);
    }
    let order = (!enforce_sorted).then(|| {
        let mut sorted: Vec<i64> = (0..batch as i64).collect();
        sorted.sort_by_key(|&i| std::cmp::Reverse(lengths[i as usize]));
        Order::new(sorted)
    });
    let (x, lengths) = match &order {
        Some(order) => (ordered(&x, &order.sorted), order.sorted.iter().map(|&i| lengths[i as usize]).collect()),
        None => (x, lengths),
    };
    let x = x.narrow(0, 0, lengths[0]);
    // Nothing that stands behind an end may reach a sum.
    let steps = x.where_(&inside(&lengths, lengths[0], x.rank()), x.zeros_like());
    PackedSequence { steps, lengths, order }
}

/// The padded sequences `[T, B, …]`, with `batch_first` `[B, T, …]`, in the order in which they were packed, with
/// `padding_value` behind their ends, and their lengths, i64 `[B]`. T is the longest length, or `total_length`.
///
/// Torch's `pad_packed_sequence`.
#[track_caller]
pub fn pad_packed_sequence(
    sequence: &PackedSequence,
    batch_first: bool,
    padding_value: f64,
    total_length: Option<usize>,
) -> (Tensor, Tensor) {
    if let Some(error) = sequence.steps.error() {
        return padded_failed(error, sequence);
    }
    let longest = sequence.lengths.first().copied().unwrap_or(0);
    let total = total_length.unwrap_or(longest);
    if total < longest {
        let what = format!("pad_packed_sequence: total_length {total} is below the longest length {longest}");
        return padded_failed(Error::new(what), sequence);
    }
    let (mut x, mut lengths) = (sequence.steps.clone(), sequence.lengths.clone());
    if total > longest {
        x = x.pad(0, 0, (total - longest) as isize, 0.0);
    }
    if padding_value != 0.0 {
        x = x.where_(&inside(&lengths, total, x.rank()), x.zeros_like() + padding_value);
    }
    if let Some(order) = &sequence.order {
        x = ordered(&x, &order.unsorted);
        lengths = order.unsorted.iter().map(|&i| lengths[i as usize]).collect();
    }
    let lengths: Vec<i64> = lengths.into_iter().map(|n| n as i64).collect();
    (if batch_first { x.transpose(0, 1) } else { x }, indices(&lengths))
}

#[track_caller]
fn padded_failed(error: Error, sequence: &PackedSequence) -> (Tensor, Tensor) {
    let lengths = Tensor::fail(error.clone(), &[&sequence.steps], Shape::from([1]), DType::I64);
    (failed(error, &sequence.steps, sequence.steps.shape()), lengths)
}

/// On which side of a shorter sequence the padding stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingSide {
    /// Before it.
    Left,
    /// Behind it.
    #[default]
    Right,
}

/// Sequences `[Lᵢ, …]` as one tensor `[T, B, …]`, with `batch_first` `[B, T, …]`; T is the longest length.
///
/// Torch's `pad_sequence`.
///
/// ```
/// use limpid::prelude::*;
/// let (a, b) = (Tensor::from([1.0f32, 2.0, 3.0]), Tensor::from([4.0f32]));
/// let x = pad_sequence(&[&a, &b], true, -1.0, PaddingSide::Left);
/// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0, 3.0, -1.0, -1.0, 4.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn pad_sequence(sequences: &[&Tensor], batch_first: bool, padding_value: f64, padding_side: PaddingSide) -> Tensor {
    let Some(first) = sequences.first() else {
        return Tensor::failed(Error::new("pad_sequence: no sequences"));
    };
    let wrong = sequences.iter().find(|t| {
        t.rank() == 0 || t.rank() != first.rank() || t.shape()[1..] != first.shape()[1..] || t.dtype() != first.dtype()
    });
    if let Some(t) = wrong {
        let (a, b) = (format!("{} {}", first.dtype(), first.shape()), format!("{} {}", t.dtype(), t.shape()));
        let what = format!("pad_sequence: one sequence is {a}, another one {b}");
        let error = Error::new(what).help("sequences that differ in their first size only");
        return Tensor::fail(error, sequences, first.shape().clone(), first.dtype());
    }
    let longest = sequences.iter().map(|t| t.size(0)).max().unwrap_or(0);
    let mut padded = Vec::with_capacity(sequences.len());
    for t in sequences {
        let more = (longest - t.size(0)) as isize;
        let (lo, hi) = if padding_side == PaddingSide::Left { (more, 0) } else { (0, more) };
        padded.push(t.pad(0, lo, hi, padding_value));
    }
    Tensor::stack(&padded.iter().collect::<Vec<_>>(), if batch_first { 0 } else { 1 })
}

/// The sequences `[Lᵢ, …]` of a padded batch. The opposite of [`pad_sequence`], torch's `unpad_sequence`.
#[track_caller]
pub fn unpad_sequence(padded: &Tensor, lengths: impl Into<Lengths>, batch_first: bool) -> Vec<Tensor> {
    let lengths = match lengths.into().read("unpad_sequence", 0) {
        Ok(lengths) => lengths,
        Err(error) => return vec![failed(error, padded, padded.shape())],
    };
    if padded.error().is_some() {
        return vec![padded.clone(); lengths.len().max(1)];
    }
    let (batch, steps) = if batch_first { (0, 1) } else { (1, 0) };
    let fits = padded.rank() >= 2 && padded.size(batch) == lengths.len();
    if !fits || lengths.iter().any(|&n| n > padded.size(steps)) {
        let what = format!("unpad_sequence: lengths {lengths:?} for {}", padded.shape());
        let help =
            if batch_first { "[B, T, …] with batch_first" } else { "[T, B, …], or batch_first for [B, T, …]" };
        return vec![failed(Error::new(what).help(help), padded, padded.shape()); lengths.len().max(1)];
    }
    let mut sequences = Vec::with_capacity(lengths.len());
    for (i, n) in lengths.into_iter().enumerate() {
        sequences.push(padded.select(batch, i as isize).narrow(0, 0, n));
    }
    sequences
}

/// Packs sequences `[Lᵢ, …]`; with `enforce_sorted` (torch's default) longest first. Torch's `pack_sequence`.
#[track_caller]
pub fn pack_sequence(sequences: &[&Tensor], enforce_sorted: bool) -> PackedSequence {
    let padded = pad_sequence(sequences, false, 0.0, PaddingSide::Right);
    let lengths: Vec<usize> = sequences.iter().map(|t| t.size(0)).collect();
    pack_padded_sequence(&padded, lengths, false, enforce_sorted)
}

/// The sequences `[Lᵢ, …]` in the order in which they were packed. Torch's `unpack_sequence`.
#[track_caller]
pub fn unpack_sequence(sequence: &PackedSequence) -> Vec<Tensor> {
    let (padded, lengths) = pad_packed_sequence(sequence, false, 0.0, None);
    unpad_sequence(&padded, &lengths, false)
}

/// What a recurrent layer runs over, as it runs.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Steps {
    /// `[T, N, features]`, where the input has such axes.
    pub x: Tensor,
    /// i64 `[N]`
    pub lengths: Option<Tensor>,
    /// Where the batch was sorted, the order and the way back.
    pub order: Option<(Tensor, Tensor)>,
    /// Whether the input has no batch axis.
    pub unbatched: bool,
}

/// What a recurrent layer runs over: a tensor `[T, N, features]` (or `[T, features]` without a batch; with
/// `batch_first` `[N, T, features]`), or a [`PackedSequence`]. The result is of the same kind.
pub trait Sequences: Sized {
    /// The steps in order.
    #[doc(hidden)]
    fn steps(&self, batch_first: bool) -> Steps;

    /// The result of the same kind, from the results of all steps.
    #[doc(hidden)]
    fn close(&self, y: &Tensor, batch_first: bool) -> Self;
}

impl Sequences for Tensor {
    #[track_caller]
    fn steps(&self, batch_first: bool) -> Steps {
        let x = match self.rank() {
            2 => self.unsqueeze(1),
            3 if batch_first => self.transpose(0, 1),
            _ => self.clone(),
        };
        Steps { x, lengths: None, order: None, unbatched: self.rank() == 2 }
    }

    #[track_caller]
    fn close(&self, y: &Tensor, batch_first: bool) -> Tensor {
        match self.rank() {
            2 => y.squeeze(1),
            3 if batch_first => y.transpose(0, 1),
            _ => y.clone(),
        }
    }
}

impl Sequences for PackedSequence {
    #[track_caller]
    fn steps(&self, _batch_first: bool) -> Steps {
        let lengths: Vec<i64> = self.lengths.iter().map(|&n| n as i64).collect();
        let order = self.order.as_ref().map(|order| (indices(&order.sorted), indices(&order.unsorted)));
        Steps { x: self.steps.clone(), lengths: Some(indices(&lengths)), order, unbatched: false }
    }

    #[track_caller]
    fn close(&self, y: &Tensor, _batch_first: bool) -> PackedSequence {
        PackedSequence { steps: y.clone(), ..self.clone() }
    }
}
