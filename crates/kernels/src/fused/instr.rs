//! The instructions of a chain of elementwise operations.

use crate::dtype::DType;

/// Number of a register: instruction `i` defines register `i`.
pub type Reg = u16;

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryFn {
    /// −x; integers wrap.
    Neg,
    /// |x|; integers wrap.
    Abs,
    /// eˣ
    Exp,
    /// eˣ − 1, accurate near 0.
    Expm1,
    /// ln x
    Log,
    /// ln(1 + x), accurate near 0.
    Log1p,
    /// √x, correctly rounded.
    Sqrt,
    /// sin x, x in radians.
    Sin,
    /// cos x, x in radians.
    Cos,
    /// The angle from −π/2 to π/2 whose tangent is x.
    Atan,
    /// (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)
    Tanh,
    /// 2/√π ∫₀ˣ e^(−t²) dt
    Erf,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x·Φ(x), Φ the distribution of the normal.
    Gelu,
    /// Φ(x) + x·Φ′(x): the slope of [`UnaryFn::Gelu`].
    GeluSlope,
    /// The largest whole number that is not above x.
    Floor,
    /// The smallest whole number that is not below x.
    Ceil,
    /// x without its fraction.
    Trunc,
    /// The nearest whole number; halfway goes to the even one.
    Round,
}

impl UnaryFn {
    /// All of them.
    pub const ALL: [UnaryFn; 19] = [
        UnaryFn::Neg,
        UnaryFn::Abs,
        UnaryFn::Exp,
        UnaryFn::Expm1,
        UnaryFn::Log,
        UnaryFn::Log1p,
        UnaryFn::Sqrt,
        UnaryFn::Sin,
        UnaryFn::Cos,
        UnaryFn::Atan,
        UnaryFn::Tanh,
        UnaryFn::Erf,
        UnaryFn::Sigmoid,
        UnaryFn::Gelu,
        UnaryFn::GeluSlope,
        UnaryFn::Floor,
        UnaryFn::Ceil,
        UnaryFn::Trunc,
        UnaryFn::Round,
    ];

    /// Whether it is defined for integers too (roundings leave them as they are).
    pub const fn takes_integers(self) -> bool {
        matches!(self, UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round)
    }
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryFn {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b; floats only.
    Div,
    /// The quotient without its fraction.
    DivTrunc,
    /// The largest whole number that is not above the quotient.
    DivFloor,
    /// What [`BinaryFn::DivTrunc`] leaves: the sign of a.
    RemTrunc,
    /// What [`BinaryFn::DivFloor`] leaves: the sign of b.
    RemFloor,
    /// aᵇ; an integer to a negative power is 1/aⁿ without its fraction, and 0 for a = 0.
    Pow,
    /// The larger one; NaN when either is.
    Max,
    /// The smaller one; NaN when either is.
    Min,
    /// a = b, as bool.
    Eq,
    /// a ≠ b, as bool.
    Ne,
    /// a < b, as bool.
    Lt,
    /// a ≤ b, as bool.
    Le,
    /// Bits in both; integers and bool.
    And,
    /// Bits in either; integers and bool.
    Or,
    /// Bits in one of them; integers and bool.
    Xor,
    /// a · 2ᵇ in the type's bits; 0 when b is negative or not below the number of bits.
    Shl,
    /// a / 2ᵇ, rounded down; 0 or −1 when b is negative or not below the number of bits.
    Shr,
}

impl BinaryFn {
    /// All of them.
    pub const ALL: [BinaryFn; 20] = [
        BinaryFn::Add,
        BinaryFn::Sub,
        BinaryFn::Mul,
        BinaryFn::Div,
        BinaryFn::DivTrunc,
        BinaryFn::DivFloor,
        BinaryFn::RemTrunc,
        BinaryFn::RemFloor,
        BinaryFn::Pow,
        BinaryFn::Max,
        BinaryFn::Min,
        BinaryFn::Eq,
        BinaryFn::Ne,
        BinaryFn::Lt,
        BinaryFn::Le,
        BinaryFn::And,
        BinaryFn::Or,
        BinaryFn::Xor,
        BinaryFn::Shl,
        BinaryFn::Shr,
    ];

    /// Whether the result is a truth value.
    pub const fn is_comparison(self) -> bool {
        matches!(self, BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le)
    }

    /// Whether it divides integers, and so can meet a zero.
    pub const fn divides(self) -> bool {
        matches!(self, BinaryFn::DivTrunc | BinaryFn::DivFloor | BinaryFn::RemTrunc | BinaryFn::RemFloor)
    }

    /// Whether it is defined for elements of `dtype`. Bool has the logic, the order, and + and · as or and and.
    pub const fn takes(self, dtype: DType) -> bool {
        use BinaryFn::*;
        match self {
            Max | Min | Eq | Ne | Lt | Le | Add | Mul => true,
            And | Or | Xor => !dtype.is_float(),
            Shl | Shr => !dtype.is_float() && !matches!(dtype, DType::Bool),
            Div => dtype.is_float(),
            Sub | Pow | DivTrunc | DivFloor | RemTrunc | RemFloor => !matches!(dtype, DType::Bool),
        }
    }
}

/// What combines many elements into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceFn {
    /// a + b; of nothing: 0.
    Sum,
    /// a · b; of nothing: 1.
    Prod,
    /// The largest, NaN when one is; of nothing: −∞ or the lowest integer.
    Max,
    /// The smallest, NaN when one is; of nothing: ∞ or the highest integer.
    Min,
}

/// One step. Operands are registers of earlier instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instr {
    /// The element of an input, of its type.
    Load {
        /// Which input.
        input: u16,
    },
    /// A number that is the same for all elements, given when the kernel runs.
    Scalar {
        /// Which argument.
        arg: u16,
        /// The type it takes.
        dtype: DType,
    },
    /// f(a), of a's type.
    Unary {
        /// The function.
        f: UnaryFn,
        /// Its operand.
        a: Reg,
    },
    /// f(a, b) of the operands' common type, or Bool for a comparison.
    Binary {
        /// The function.
        f: BinaryFn,
        /// First operand.
        a: Reg,
        /// Second operand, of the same type.
        b: Reg,
    },
    /// a where c, else b.
    Select {
        /// Of type Bool.
        c: Reg,
        /// Taken where true.
        a: Reg,
        /// Taken where false, of the same type.
        b: Reg,
    },
    /// The value in another type: floats to integers truncate (outside i64 they saturate, then wrap to
    /// the type), anything to bool is x ≠ 0.
    Cast {
        /// The operand.
        a: Reg,
        /// The type wanted.
        to: DType,
    },
    /// The bits seen as another type of the same size; a byte becomes bool as x ≠ 0.
    BitCast {
        /// The operand.
        a: Reg,
        /// The type wanted.
        to: DType,
    },
    /// A random whole number in 0 .. 2³², of type I64: word `index % 4` of Philox4x32-10 with key `seed`
    /// and counter words (`index / 4`, `counter`), two 32-bit words each (Salmon et al., SC 2011).
    Random {
        /// Register of type I64.
        index: Reg,
        /// Which argument holds the 64 bits of the key.
        seed: u16,
        /// Which argument holds the 64 bits of the counter's upper half.
        counter: u16,
    },
}
