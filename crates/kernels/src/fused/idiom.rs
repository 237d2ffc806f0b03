//! Runs of instructions that one loop does: what optimizers say of every weight, and choices by a number.
//!
//! A chain passes each intermediate result through the first-level cache. For arithmetic as cheap as that of an update
//! this costs more than the arithmetic, so the runs below keep theirs in registers. Each operation rounds as it does by
//! itself: no bit of a result changes.

use super::instr::{BinaryFn, Instr, Reg, UnaryFn};
use crate::dtype::DType;
use crate::isa::{Arch, Isa, Job, dispatch};

/// A run of instructions, named by its operands. Those that are *uniform* have one element for all indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idiom {
    /// a + b·s, s uniform.
    AddScaled([Reg; 2], [Reg; 1]),
    /// a − b·s, s uniform.
    SubScaled([Reg; 2], [Reg; 1]),
    /// a·s + b·t, s and t uniform: a moving average.
    Blend([Reg; 2], [Reg; 2]),
    /// a·s + (b·b)·t, s and t uniform: a moving average of squares.
    BlendSquare([Reg; 2], [Reg; 2]),
    /// p − m / (√v·s + e)·r, with s, e and r uniform: Adam's descent.
    Descend([Reg; 3], [Reg; 3]),
    /// a where the condition holds for x and s, else b; s uniform: [x, a, b], [s].
    Choose(Condition, [Reg; 3], [Reg; 1]),
    /// The same with a uniform: [x, b], [s, a]. ReLU and its gradient.
    ChooseFirst(Condition, [Reg; 2], [Reg; 2]),
    /// The same with b uniform: [x, a], [s, b].
    ChooseSecond(Condition, [Reg; 2], [Reg; 2]),
}

/// A comparison of x and s: x f s, or s f x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    f: BinaryFn,
    turned: bool,
}

impl Idiom {
    /// The operands with an element for each index.
    pub(super) fn wide(&self) -> &[Reg] {
        match self {
            Idiom::AddScaled(x, _) | Idiom::SubScaled(x, _) | Idiom::Blend(x, _) | Idiom::BlendSquare(x, _) => x,
            Idiom::ChooseFirst(_, x, _) | Idiom::ChooseSecond(_, x, _) => x,
            Idiom::Descend(x, _) | Idiom::Choose(_, x, _) => x,
        }
    }

    /// The uniform ones.
    pub(super) fn uniform(&self) -> &[Reg] {
        match self {
            Idiom::AddScaled(_, s) | Idiom::SubScaled(_, s) | Idiom::Choose(_, _, s) => s,
            Idiom::ChooseFirst(_, _, s) | Idiom::ChooseSecond(_, _, s) => s,
            Idiom::Blend(_, s) | Idiom::BlendSquare(_, s) => s,
            Idiom::Descend(_, s) => s,
        }
    }
}

/// The idioms of a kernel.
#[derive(Clone, Debug)]
pub(super) struct Idioms {
    /// What ends at each instruction.
    pub(super) ends: Vec<Option<Idiom>>,
    /// For an instruction that is inside of one: where that ends.
    pub(super) inside: Vec<Option<usize>>,
}

impl Idioms {
    /// Finds them, the longest first where several end at one place.
    pub(super) fn find(instrs: &[Instr], dtypes: &[DType], outputs: &[Reg]) -> Idioms {
        let mut uses = vec![0usize; instrs.len()];
        instrs.iter().flat_map(super::kernel::operands).for_each(|r| uses[r] += 1);
        outputs.iter().for_each(|&o| uses[usize::from(o)] += 2);
        let finder = Finder { instrs, dtypes, uses };
        let mut found = Idioms { ends: vec![None; instrs.len()], inside: vec![None; instrs.len()] };
        for i in (0..instrs.len()).rev().filter(|&i| dtypes[i] == DType::F32) {
            if found.inside[i].is_some() {
                continue;
            }
            let mut inside = Vec::new();
            if let Some(idiom) = finder.at(i, &mut inside) {
                found.ends[i] = Some(idiom);
                inside.into_iter().for_each(|r| found.inside[usize::from(r)] = Some(i));
            }
        }
        found
    }
}

struct Finder<'a> {
    instrs: &'a [Instr],
    dtypes: &'a [DType],
    uses: Vec<usize>,
}

impl Finder<'_> {
    /// The operands of a binary instruction that nothing but its user reads.
    fn inner(&self, r: Reg, f: BinaryFn) -> Option<(Reg, Reg)> {
        match self.instrs[usize::from(r)] {
            Instr::Binary { f: have, a, b } if have == f && self.uses[usize::from(r)] == 1 => Some((a, b)),
            _ => None,
        }
    }

    /// Whether a register may have one element for all indices.
    fn may_be_uniform(&self, r: Reg) -> bool {
        matches!(self.instrs[usize::from(r)], Instr::Scalar { .. } | Instr::Load { .. })
            && self.dtypes[usize::from(r)] == DType::F32
    }

    fn is_number(&self, r: Reg) -> bool {
        matches!(self.instrs[usize::from(r)], Instr::Scalar { .. })
    }

    /// x·s as (x, s).
    fn scaled(&self, r: Reg) -> Option<(Reg, Reg)> {
        let (a, b) = self.inner(r, BinaryFn::Mul)?;
        match (self.is_number(a), self.is_number(b)) {
            (true, false) => Some((b, a)),
            _ if self.may_be_uniform(b) => Some((a, b)),
            _ => None,
        }
    }

    /// The idiom that ends at instruction `i`; those inside of it are added to `inside`.
    fn at(&self, i: usize, inside: &mut Vec<Reg>) -> Option<Idiom> {
        let (f, a, b) = match self.instrs[i] {
            Instr::Binary { f, a, b } => (f, a, b),
            Instr::Select { c, a, b } => return self.choose(c, a, b, inside),
            _ => return None,
        };
        match f {
            BinaryFn::Add => {
                if let (Some((x, s)), Some((y, t))) = (self.scaled(a), self.scaled(b)) {
                    inside.extend([a, b]);
                    if let Some((g, _)) = self.inner(y, BinaryFn::Mul).filter(|(g, h)| g == h) {
                        inside.push(y);
                        return Some(Idiom::BlendSquare([x, g], [s, t]));
                    }
                    return Some(Idiom::Blend([x, y], [s, t]));
                }
                let (x, (y, s), scaled) = match (self.scaled(b), self.scaled(a)) {
                    (Some(product), _) => (a, product, b),
                    (None, Some(product)) => (b, product, a),
                    _ => return None,
                };
                inside.push(scaled);
                Some(Idiom::AddScaled([x, y], [s]))
            }
            BinaryFn::Sub => {
                let (x, s) = self.scaled(b)?;
                inside.push(b);
                if let Some(idiom) = self.descend(a, x, s, inside) {
                    return Some(idiom);
                }
                Some(Idiom::SubScaled([a, x], [s]))
            }
            _ => None,
        }
    }

    /// A choice by a comparison with a number.
    fn choose(&self, c: Reg, a: Reg, b: Reg, inside: &mut Vec<Reg>) -> Option<Idiom> {
        let (f, (left, right)) = match self.instrs[usize::from(c)] {
            Instr::Binary { f, .. } if f.is_comparison() => (f, self.inner(c, f)?),
            _ => return None,
        };
        let (x, s) = if self.is_number(right) { (left, right) } else { (right, left) };
        if !self.is_number(s) || self.is_number(x) || self.dtypes[usize::from(x)] != DType::F32 {
            return None;
        }
        let condition = Condition { f, turned: s == left };
        inside.push(c);
        Some(match (self.is_number(a), self.is_number(b)) {
            (true, true) => return None,
            (true, false) => Idiom::ChooseFirst(condition, [x, b], [s, a]),
            (false, true) => Idiom::ChooseSecond(condition, [x, a], [s, b]),
            (false, false) => Idiom::Choose(condition, [x, a, b], [s]),
        })
    }

    /// p − x·rate where x is m / (√v·s + eps).
    fn descend(&self, p: Reg, x: Reg, rate: Reg, inside: &mut Vec<Reg>) -> Option<Idiom> {
        let (m, denominator) = self.inner(x, BinaryFn::Div)?;
        let (spread, eps) = self.inner(denominator, BinaryFn::Add)?;
        let (root, s) = self.scaled(spread)?;
        let Instr::Unary { f: UnaryFn::Sqrt, a: v } = self.instrs[usize::from(root)] else { return None };
        if self.uses[usize::from(root)] != 1 || !self.may_be_uniform(eps) {
            return None;
        }
        inside.extend([x, denominator, spread, root]);
        Some(Idiom::Descend([p, m, v], [s, eps, rate]))
    }
}

/// Elements that pass through the registers at once.
const WIDTH: usize = 16;

/// y[i] = idiom of x[..][i] and the uniform operands.
pub(super) struct Run {
    pub(super) idiom: Idiom,
    /// The wide operands; past those of the idiom, the first.
    pub(super) x: [*const f32; 3],
    /// The uniform ones.
    pub(super) s: [f32; 3],
    pub(super) y: *mut f32,
    pub(super) len: usize,
}

impl Run {
    /// Computes the elements.
    ///
    /// # Safety
    /// The wide operands are valid to read and `y` to write for `len` elements. An operand may be `y`, element by
    /// element; else they do not overlap.
    pub(super) unsafe fn run(self, isa: Isa) {
        dispatch(isa, self);
    }

    /// y = f(p, m, v) for each element of the first three operands; those that an idiom has not are its first.
    ///
    /// # Safety
    /// As [`Run::run`].
    #[inline(always)]
    unsafe fn each(&self, f: impl Fn(f32, f32, f32) -> f32) {
        let [a, b, c] = self.x;
        let whole = self.len - self.len % WIDTH;
        let mut i = 0;
        while i < whole {
            // SAFETY: by the caller. All is read before anything is written, so that an operand may be the result.
            unsafe {
                let a = a.add(i).cast::<[f32; WIDTH]>().read_unaligned();
                let b = b.add(i).cast::<[f32; WIDTH]>().read_unaligned();
                let c = c.add(i).cast::<[f32; WIDTH]>().read_unaligned();
                let mut y = a;
                for l in 0..WIDTH {
                    y[l] = f(a[l], b[l], c[l]);
                }
                self.y.add(i).cast::<[f32; WIDTH]>().write_unaligned(y);
            }
            i += WIDTH;
        }
        for i in whole..self.len {
            // SAFETY: as above.
            unsafe { *self.y.add(i) = f(*a.add(i), *b.add(i), *c.add(i)) };
        }
    }
}

impl Run {
    /// [`Run::each`] for a condition on x and the first uniform operand.
    ///
    /// # Safety
    /// As [`Run::run`].
    #[inline(always)]
    unsafe fn choose(&self, holds: impl Fn(f32, f32) -> bool) {
        let [s, t, _] = self.s;
        // SAFETY: by the caller.
        unsafe {
            match self.idiom {
                Idiom::ChooseFirst(..) => self.each(|x, b, _| if holds(x, s) { t } else { b }),
                Idiom::ChooseSecond(..) => self.each(|x, a, _| if holds(x, s) { a } else { t }),
                _ => self.each(|x, a, b| if holds(x, s) { a } else { b }),
            }
        }
    }
}

impl Job for Run {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let [s, t, u] = self.s;
        // SAFETY: by the caller of `Run::run`.
        unsafe {
            match self.idiom {
                Idiom::AddScaled(..) => self.each(|a, b, _| a + b * s),
                Idiom::SubScaled(..) => self.each(|a, b, _| a - b * s),
                Idiom::Blend(..) => self.each(|a, b, _| a * s + b * t),
                Idiom::BlendSquare(..) => self.each(|a, b, _| a * s + b * b * t),
                Idiom::Descend(..) => self.each(|p, m, v| p - m / (v.sqrt() * s + t) * u),
                Idiom::Choose(is, ..) | Idiom::ChooseFirst(is, ..) | Idiom::ChooseSecond(is, ..) => {
                    match (is.f, is.turned) {
                        (BinaryFn::Eq, _) => self.choose(|x, s| x == s),
                        (BinaryFn::Ne, _) => self.choose(|x, s| x != s),
                        (BinaryFn::Lt, false) => self.choose(|x, s| x < s),
                        (BinaryFn::Lt, true) => self.choose(|x, s| s < x),
                        (BinaryFn::Le, false) => self.choose(|x, s| x <= s),
                        (BinaryFn::Le, true) => self.choose(|x, s| s <= x),
                        (f, _) => unreachable!("not a comparison: {f:?}"),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fused::{Kernel, Sink, Source, run};
    use crate::{Cpu, Number, Slice, SliceMut};

    /// Adam's update of m, v and p by g: the kernel, with the rates as inputs of one element (or of one each).
    fn adam() -> Kernel {
        let (mut instrs, scalar) = (Vec::new(), |arg| Instr::Scalar { arg, dtype: DType::F32 });
        let mut push = |instr| {
            instrs.push(instr);
            (instrs.len() - 1) as Reg
        };
        let binary = |f, a, b| Instr::Binary { f, a, b };
        use BinaryFn::{Add, Div, Mul, Sub};
        let (m, s) = (push(Instr::Load { input: 0 }), push(scalar(0)));
        let old = push(binary(Mul, m, s));
        let (g, s) = (push(Instr::Load { input: 1 }), push(scalar(1)));
        let new = push(binary(Mul, s, g));
        let m = push(binary(Add, old, new));
        let (v, s) = (push(Instr::Load { input: 2 }), push(scalar(2)));
        let old = push(binary(Mul, v, s));
        let square = push(binary(Mul, g, g));
        let s = push(scalar(3));
        let new = push(binary(Mul, square, s));
        let v = push(binary(Add, old, new));
        let (p, root) = (push(Instr::Load { input: 3 }), push(Instr::Unary { f: UnaryFn::Sqrt, a: v }));
        let second = push(Instr::Load { input: 4 });
        let spread = push(binary(Mul, root, second));
        let eps = push(scalar(4));
        let below = push(binary(Add, spread, eps));
        let step = push(binary(Div, m, below));
        let rate = push(Instr::Load { input: 5 });
        let step = push(binary(Mul, step, rate));
        let decayed = push(binary(Sub, p, step));
        let decay = push(scalar(5));
        let shrink = push(binary(Mul, p, decay));
        let p = push(binary(Sub, decayed, shrink));
        Kernel::new(instrs, vec![DType::F32; 6], vec![m, v, p]).expect("a right kernel")
    }

    #[test]
    fn an_update_is_three_idioms_and_a_scaled_difference() {
        let found: Vec<Idiom> = adam().idioms.ends.into_iter().flatten().collect();
        assert!(
            matches!(found[..], [Idiom::Blend(..), Idiom::BlendSquare(..), Idiom::Descend(..), Idiom::SubScaled(..)]),
            "{found:?}"
        );
    }

    /// Bit by bit the operations one after the other, in place, at odd lengths, on every instruction set and with several
    /// threads, also where what may be uniform is not.
    #[test]
    fn idioms_round_as_their_operations() {
        let kernel = adam();
        let args: Vec<f32> = vec![0.9, 0.1, 0.999, 0.001, 1e-8, 0.01];
        let numbers: Vec<Number> = args.iter().map(|&x| Number::Float(x.into())).collect();
        let wave = |n: usize, salt: usize| (0..n).map(|i| ((i * 37 + salt) as f32 * 0.71).sin()).collect::<Vec<f32>>();
        for isa in Isa::available() {
            for (n, threads) in [(1, 1), (15, 1), (16, 3), (33, 1), (1000, 3), (1025, 1), (70_001, 3)] {
                for stride in [0, 1] {
                    let cpu = Cpu::new(Some(isa), threads);
                    let (g, second, rate) = (wave(n, 2), wave(n, 3), wave(n, 4));
                    let mut m = wave(n, 5);
                    let mut v: Vec<f32> = wave(n, 6).iter().map(|x| x * x).collect();
                    let mut p = wave(n, 7);
                    let expected: Vec<[f32; 3]> = (0..n)
                        .map(|i| {
                            let u = if stride == 0 { 0 } else { i };
                            let new_m = m[i] * args[0] + args[1] * g[i];
                            let new_v = v[i] * args[2] + g[i] * g[i] * args[3];
                            let step = new_m / (new_v.sqrt() * second[u] + args[4]) * rate[u];
                            [new_m, new_v, p[i] - step - p[i] * args[5]]
                        })
                        .collect();
                    let strides = [stride];
                    let data = |x: &'static [isize], data| Source::Data {
                        data: Slice::of::<f32>(data),
                        offset: 0,
                        strides: x,
                    };
                    let rates = |data| Source::Data { data: Slice::of::<f32>(data), offset: 0, strides: &strides };
                    let sources = [
                        Source::Output(0),
                        data(&[1], &g),
                        Source::Output(1),
                        Source::Output(2),
                        rates(&second),
                        rates(&rate),
                    ];
                    let mut sinks =
                        [&mut m, &mut v, &mut p].map(|x| Sink { data: SliceMut::of(x), offset: 0, strides: &[1] });
                    run(&cpu, &kernel, &[n], &sources, &numbers, &mut sinks).expect("floats");
                    for i in 0..n {
                        let got = [m[i], v[i], p[i]].map(f32::to_bits);
                        assert_eq!(got, expected[i].map(f32::to_bits), "element {i} of {n}, {} {stride}", isa.name());
                    }
                }
            }
        }
    }

    /// Every comparison, either way round, with each choice a number or not: NaN, zeros of both signs and ties too.
    #[test]
    fn choices_are_those_of_a_comparison_and_a_selection() {
        let x = [1.5f32, -0.0, 0.0, f32::NAN, -2.0, f32::INFINITY, 0.5, f32::NEG_INFINITY].repeat(5);
        let (p, q) =
            ((0..40).map(|i| i as f32).collect::<Vec<_>>(), (0..40).map(|i| -3.0 * i as f32).collect::<Vec<_>>());
        let load = |input| Instr::Load { input };
        let number = |arg| Instr::Scalar { arg, dtype: DType::F32 };
        for f in [BinaryFn::Eq, BinaryFn::Ne, BinaryFn::Lt, BinaryFn::Le] {
            for (turned, first, second) in
                [false, true].iter().flat_map(|&t| [(t, false, false), (t, true, false), (t, false, true)])
            {
                // Registers: x, p, q, the number compared with, the number chosen.
                let (a, b) = (if turned { 3 } else { 0 }, if turned { 0 } else { 3 });
                let compare = Instr::Binary { f, a, b };
                let select = Instr::Select { c: 5, a: if first { 4 } else { 1 }, b: if second { 4 } else { 2 } };
                let instrs = vec![load(0), load(1), load(2), number(0), number(1), compare, select];
                let kernel = Kernel::new(instrs, vec![DType::F32; 3], vec![6]).expect("a right kernel");
                assert!(kernel.idioms.ends[6].is_some());
                for (isa, s) in
                    Isa::available().into_iter().flat_map(|isa| [(isa, 0.0f32), (isa, 0.5), (isa, f32::NAN)])
                {
                    let cpu = Cpu::new(Some(isa), 1);
                    let mut y = vec![9f32; 40];
                    let source = |data| Source::Data { data: Slice::of::<f32>(data), offset: 0, strides: &[1] };
                    let sources = [source(&x[..]), source(&p[..]), source(&q[..])];
                    let args = [Number::Float(s.into()), Number::Float(7.25)];
                    let mut sinks = [Sink { data: SliceMut::of(&mut y), offset: 0, strides: &[1] }];
                    run(&cpu, &kernel, &[40], &sources, &args, &mut sinks).expect("floats");
                    for i in 0..40 {
                        let (l, r) = if turned { (s, x[i]) } else { (x[i], s) };
                        let holds = match f {
                            BinaryFn::Eq => l == r,
                            BinaryFn::Ne => l != r,
                            BinaryFn::Lt => l < r,
                            _ => l <= r,
                        };
                        let chosen =
                            if holds { [p[i], 7.25][usize::from(first)] } else { [q[i], 7.25][usize::from(second)] };
                        assert_eq!(y[i], chosen, "{f:?} {turned} of {} and {s}, {}", x[i], isa.name());
                    }
                }
            }
        }
    }
}
