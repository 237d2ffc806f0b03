//! Convolutions whose groups make one channel each, by adding up shifted rows of the image.

use crate::Cpu;
use crate::isa::{Arch, Job, dispatch};
use crate::parts::each;

use super::axis::Phase;
use super::field::Phases;
use super::{Conv, Real, inside};

/// Elements of a window up to which rows are added up; larger windows are better sums, and faster, as products.
pub(super) const LONGEST: usize = 512;
/// Elements of the result that one task makes.
const TASK: usize = 8 << 10;

/// The convolution, where each group makes one channel.
pub(super) fn conv<T: Real>(cpu: &Cpu, shape: &Conv, src: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [T]) {
    let (windows, channels) = (shape.windows(), shape.c_in / shape.groups);
    let (pixels, taps) = (shape.pixels(), shape.taps());
    let phases = shape.axes.map(|a| a.phases());
    let per_task = (TASK / windows).max(1);
    each(&cpu.pool, (shape.n * shape.c_out).div_ceil(per_task), (out, per_task * windows), |task, out| {
        for (i, out) in out.chunks_exact_mut(windows).enumerate() {
            let i = task * per_task + i;
            let o = i % shape.c_out;
            let src = &src[i * channels * pixels..][..channels * pixels];
            let weight = &weight[o * channels * taps..][..channels * taps];
            out.fill(bias.map_or(T::default(), |b| b[o]));
            for_each_product(&phases, |phases| dispatch(cpu.isa, Rows { shape, phases, src, weight, out }));
        }
    });
}

/// Calls `f` with every choice of a phase of each axis.
pub(super) fn for_each_product<'a>(phases: &'a [Vec<Phase>; 3], mut f: impl FnMut(Phases<'a>)) {
    for z in &phases[0] {
        for y in &phases[1] {
            phases[2].iter().for_each(|x| f(Phases([z, y, x])));
        }
    }
}

/// Adds what the windows of a phase see of one channel of the result.
struct Rows<'a, T> {
    shape: &'a Conv,
    phases: Phases<'a>,
    src: &'a [T],
    weight: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Job for Rows<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Rows { shape, phases, src, weight, out } = self;
        let [_, height, width] = shape.out_size();
        let [depth_in, height_in, width_in] = shape.axes.map(|a| a.size);
        let [pz, py, px] = phases.0;
        let taps = phases.taps(shape);
        for (c, weight) in weight.chunks_exact(shape.taps()).enumerate() {
            let channel = &src[c * shape.pixels()..][..shape.pixels()];
            for &(tap, [z, y, x]) in &taps {
                let w = weight[tap];
                let xs = inside(px.count, px.stride, x, width_in);
                if xs.is_empty() {
                    continue;
                }
                let first = ((xs.start * px.stride) as isize + x) as usize;
                for tz in inside(pz.count, pz.stride, z, depth_in) {
                    let plane = ((tz * pz.stride) as isize + z) as usize * height_in;
                    for ty in inside(py.count, py.stride, y, height_in) {
                        let row = plane + ((ty * py.stride) as isize + y) as usize;
                        let pixels = &channel[row * width_in..][..width_in][first..];
                        let line = ((pz.first + tz * pz.step) * height + py.first + ty * py.step) * width;
                        let line = &mut out[line..][..width][px.first + xs.start * px.step..];
                        let add = |l: &mut T, p: T| *l = w.fma::<A>(p, *l);
                        match (px.step, px.stride) {
                            (1, 1) => line[..xs.len()].iter_mut().zip(pixels).for_each(|(l, &p)| add(l, p)),
                            (step, stride) => {
                                let pixels = pixels.iter().step_by(stride);
                                line.iter_mut().step_by(step).zip(pixels).take(xs.len()).for_each(|(l, &p)| add(l, p));
                            }
                        }
                    }
                }
            }
        }
    }
}
