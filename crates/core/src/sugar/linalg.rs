//! Factorisations of matrices, systems of equations, determinants: `torch.linalg`. Everything here is computed in f64 and
//! rounded once to the type of the matrix. The last two axes are the matrix, those before them a batch.

use limpid_kernels::DType;

use crate::compound::linalg::triangular::solve_triangular;
use crate::compound::linalg::{cholesky, lu, qr, svd};
use crate::error::Error;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Matrices of any batch as `[batch, rows, columns]` in f64, and the way back.
struct Matrices {
    flat: Tensor,
    batch: Shape,
    dtype: DType,
}

impl Matrices {
    /// Of `x`, or why it has none.
    fn of(name: &str, x: &Tensor, square: bool) -> Result<Matrices, Error> {
        let shape = x.shape();
        let rank = shape.rank();
        if rank < 2 {
            return Err(Error::new(format!("{name}: {shape} is no matrix")).help("two axes or more"));
        }
        if !x.dtype().is_float() {
            return Err(Error::new(format!("{name}: the matrix is {}, not of floats", x.dtype())));
        }
        let (m, n) = (shape[rank - 2], shape[rank - 1]);
        if square && m != n {
            return Err(Error::new(format!("{name}: {shape} is not square")));
        }
        let batch: Shape = shape[..rank - 2].iter().copied().collect();
        let flat = x.to_dtype(DType::F64).view([batch.elements(), m, n]);
        Ok(Matrices { flat, batch, dtype: x.dtype() })
    }

    /// A result `[batch, …]` with the axes of the batch again, in the type of the matrix.
    #[track_caller]
    fn back(&self, y: &Tensor) -> Tensor {
        let shape: Shape = self.batch.iter().chain(y.shape().iter().skip(1)).copied().collect();
        let y = y.view(shape);
        if y.dtype().is_float() { y.to_dtype(self.dtype) } else { y }
    }
}

impl Tensor {
    /// L with A = L·Lᵀ, lower triangular; U = Lᵀ where `upper`. A is the symmetric part of self. Torch's
    /// `linalg.cholesky`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let a = Tensor::from([[4.0f64, 2.0], [2.0, 5.0]]);
    /// assert_eq!(a.cholesky(false).to_vec::<f64>()?, [2.0, 0.0, 1.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: no square matrix of floats; a matrix that is not positive definite.
    #[track_caller]
    pub fn cholesky(&self, upper: bool) -> Tensor {
        let a = match Matrices::of("linalg.cholesky", self, true) {
            Ok(a) => a,
            Err(error) => return self.refuse_with(error),
        };
        let l = cholesky::factor(&a.flat);
        let l = l.check(&l.eq(&l), "linalg.cholesky: the matrix is not positive definite");
        a.back(&if upper { l.transpose(1, 2) } else { l })
    }

    /// X with A·X = B, or X·A = B where not `left`: A = self `[…, n, n]` triangular, of which nothing but that triangle is
    /// read; its diagonal counts as ones where `unitriangular`. Torch's `linalg.solve_triangular`.
    ///
    /// # Errors
    /// At the read: shapes that do not fit.
    #[track_caller]
    pub fn solve_triangular(&self, b: &Tensor, upper: bool, left: bool, unitriangular: bool) -> Tensor {
        if !left {
            let x = self.mt().solve_triangular(&b.mt(), !upper, true, unitriangular);
            return x.mt();
        }
        match system("linalg.solve_triangular", self, b) {
            Ok((a, rhs)) => a.back(&solve_triangular(&a.flat, &rhs, upper, unitriangular)),
            Err(error) => Tensor::fail(error, &[self, b], b.shape().clone(), b.dtype()),
        }
    }

    /// The matrix with rows and columns exchanged; a tensor of fewer axes stays.
    #[track_caller]
    fn mt(&self) -> Tensor {
        if self.rank() < 2 { self.clone() } else { self.transpose(-2, -1) }
    }

    /// P, L and U with A = P·L·U: P a permutation `[…, m, m]`, L `[…, m, k]` with ones on the diagonal, U `[…, k, n]`,
    /// k = min(m, n). Torch's `linalg.lu`.
    ///
    /// # Errors
    /// At the read: no matrix of floats.
    #[track_caller]
    pub fn lu(&self) -> [Tensor; 3] {
        let a = match Matrices::of("linalg.lu", self, false) {
            Ok(a) => a,
            Err(error) => {
                let failed = self.refuse_with(error);
                return [failed.clone(), failed.clone(), failed];
            }
        };
        let [packed, order, _] = lu::factor(&a.flat);
        let (m, n) = (packed.size(1), packed.size(2));
        let k = m.min(n);
        let p = Tensor::arange(0, m as i64, 1).unsqueeze(-1).eq(order.unsqueeze(1)).to_dtype(DType::F64);
        let ones = Tensor::eye(m).narrow(1, 0, k).to_dtype(DType::F64);
        let l = packed.narrow(2, 0, k).tril(-1) + ones;
        [p, l, packed.narrow(1, 0, k).triu(0)].map(|t| a.back(&t))
    }

    /// Q and R with A = Q·R: Q `[…, m, k]` with orthogonal columns, R `[…, k, n]` upper triangular, k = min(m, n), or k = m
    /// where `complete`. Torch's `linalg.qr`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let a = Tensor::from([[3.0f64, 1.0], [4.0, 2.0]]);
    /// let [q, r] = a.qr(false);
    /// let back = q.matmul(&r).to_vec::<f64>()?;
    /// assert!(back.iter().zip([3.0, 1.0, 4.0, 2.0]).all(|(x, y)| (x - y).abs() < 1e-12));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: no matrix of floats.
    #[track_caller]
    pub fn qr(&self, complete: bool) -> [Tensor; 2] {
        match Matrices::of("linalg.qr", self, false) {
            Ok(a) => qr::factor(&a.flat, complete).map(|t| a.back(&t)),
            Err(error) => {
                let failed = self.refuse_with(error);
                [failed.clone(), failed]
            }
        }
    }

    /// U `[…, m, k]`, S `[…, k]` and Vᵀ `[…, k, n]` with A = U·diag(S)·Vᵀ, k = min(m, n), S from the largest on. Where a
    /// singular value is 0, U (V for wide matrices) has zeros. Gradients by U and V need distinct singular values. Torch's
    /// `linalg.svd` with `full_matrices=False`.
    ///
    /// # Errors
    /// At the read: no matrix of floats.
    #[track_caller]
    pub fn svd(&self) -> [Tensor; 3] {
        let a = match Matrices::of("linalg.svd", self, false) {
            Ok(a) => a,
            Err(error) => {
                let failed = self.refuse_with(error);
                return [failed.clone(), failed.clone(), failed];
            }
        };
        let wide = a.flat.size(1) < a.flat.size(2);
        let [u, s, v] = svd::factor(&if wide { a.flat.mt() } else { a.flat.clone() });
        let (u, vt) = if wide { (v, u.mt()) } else { (u, v.mt()) };
        [u, s, vt].map(|t| a.back(&t))
    }

    /// The singular values `[…, k]` from the largest on. Torch's `linalg.svdvals`.
    ///
    /// # Errors
    /// At the read: no matrix of floats.
    #[track_caller]
    pub fn svdvals(&self) -> Tensor {
        let [_, s, _] = self.svd();
        s
    }

    /// X with A·X = B: A = self `[…, n, n]`, B `[…, n, k]`, or `[…, n]` where it is a vector or a batch of vectors. Torch's
    /// `linalg.solve`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let a = Tensor::from([[0.0f64, 2.0], [1.0, 1.0]]);
    /// assert_eq!(a.solve(&Tensor::from([4.0f64, 5.0])).to_vec::<f64>()?, [3.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: shapes that do not fit, a singular matrix.
    #[track_caller]
    pub fn solve(&self, b: &Tensor) -> Tensor {
        let rank = self.rank();
        let vector = b.rank() == 1 || (rank >= 1 && b.rank() + 1 == rank && b.shape()[..] == self.shape()[..rank - 1]);
        if vector {
            let x = self.solve(&b.unsqueeze(-1));
            return if x.error().is_some() { x } else { x.squeeze(-1) };
        }
        self.solved("linalg.solve", b)
    }

    /// X with X·A = B: A = self `[…, n, n]`, B `[…, k, n]`. Torch's `linalg.solve` with `left=False`.
    ///
    /// # Errors
    /// As [`Tensor::solve`].
    #[track_caller]
    pub fn solve_right(&self, b: &Tensor) -> Tensor {
        self.mt().solved("linalg.solve", &b.mt()).mt()
    }

    #[track_caller]
    fn solved(&self, name: &str, b: &Tensor) -> Tensor {
        let (a, rhs) = match system(name, self, b) {
            Ok(system) => system,
            Err(error) => return Tensor::fail(error, &[self, b], b.shape().clone(), b.dtype()),
        };
        let [packed, order, _] = lu::factor(&a.flat);
        let places = Tensor::arange(0, packed.size(1) as i64, 1);
        let regular = packed.ne(0.0).logical_or(&places.ne(places.unsqueeze(-1)));
        let packed = packed.check(&regular, &format!("{name}: the matrix is singular"));
        let rows = rhs.gather(1, &order.unsqueeze(-1).expand_to(rhs.shape()));
        let below = solve_triangular(&packed, &rows, false, true);
        a.back(&solve_triangular(&packed, &below, true, false))
    }

    /// A⁻¹. Torch's `linalg.inv`.
    ///
    /// # Errors
    /// At the read: no square matrix of floats, a singular matrix.
    #[track_caller]
    pub fn inv(&self) -> Tensor {
        if let Err(error) = Matrices::of("linalg.inv", self, true) {
            return self.refuse_with(error);
        }
        self.solved("linalg.inv", &Tensor::eye(self.size(-1)).to_dtype(self.dtype()).expand_to(self.shape()))
    }

    /// Aⁿ, of the inverse where n is negative, by repeated squaring; n is part of a plan. Torch's `linalg.matrix_power`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let fibonacci = Tensor::from([[1.0f64, 1.0], [1.0, 0.0]]);
    /// assert_eq!(fibonacci.matrix_power(10).to_vec::<f64>()?, [89.0, 55.0, 55.0, 34.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: no square matrix of floats, a singular one where n is negative.
    #[track_caller]
    pub fn matrix_power(&self, n: i64) -> Tensor {
        if let Err(error) = Matrices::of("linalg.matrix_power", self, true) {
            return self.refuse_with(error);
        }
        let mut square = if n < 0 { self.inv() } else { self.clone() };
        let mut left = n.unsigned_abs();
        let mut power: Option<Tensor> = None;
        while left > 0 {
            if left & 1 == 1 {
                power = Some(match &power {
                    Some(power) => power.matmul(&square),
                    None => square.clone(),
                });
            }
            left >>= 1;
            if left > 0 {
                square = square.matmul(&square);
            }
        }
        match power {
            Some(power) => power,
            None => Tensor::eye(self.size(-1)).to_dtype(self.dtype()).expand_to(self.shape()),
        }
    }

    /// The determinant. Torch's `linalg.det`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from([[1.0f64, 2.0], [3.0, 4.0]]).det().item()?, -2.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: no square matrix of floats.
    #[track_caller]
    pub fn det(&self) -> Tensor {
        match Matrices::of("linalg.det", self, true) {
            Ok(a) => {
                let [packed, _, parity] = lu::factor(&a.flat);
                a.back(&(packed.diagonal(0, 1, 2).prod(-1) * parity))
            }
            Err(error) => self.refuse_with(error),
        }
    }

    /// The sign of the determinant (0 where it is 0), and the logarithm of its size. Torch's `linalg.slogdet`.
    ///
    /// # Errors
    /// At the read: no square matrix of floats.
    #[track_caller]
    pub fn slogdet(&self) -> [Tensor; 2] {
        let a = match Matrices::of("linalg.slogdet", self, true) {
            Ok(a) => a,
            Err(error) => {
                let failed = self.refuse_with(error);
                return [failed.clone(), failed];
            }
        };
        let [packed, _, parity] = lu::factor(&a.flat);
        let pivots = packed.diagonal(0, 1, 2);
        [pivots.sign().prod(-1) * parity, pivots.abs().log().sum(-1)].map(|t| a.back(&t))
    }
}

/// A and B of one batch, broadcast, as `[b, n, n]` and `[b, n, k]`.
fn system(name: &str, a: &Tensor, b: &Tensor) -> Result<(Matrices, Tensor), Error> {
    Matrices::of(name, a, true)?;
    let sizes = |t: &Tensor| t.shape().iter().copied().take(t.rank().saturating_sub(2)).collect::<Shape>();
    let fits = b.rank() >= 2 && b.size(-2) == a.size(-2) && a.dtype() == b.dtype();
    let (Some(batch), true) = (sizes(a).broadcast(&sizes(b)), fits) else {
        let (x, y) = (a.shape(), b.shape());
        return Err(Error::new(format!("{name}: {} {x} and {} {y} do not fit", a.dtype(), b.dtype()))
            .help("[…, n, n] and […, n, k] of one type"));
    };
    let wide = |t: &Tensor| {
        let shape: Shape = batch.iter().copied().chain([t.size(-2), t.size(-1)]).collect();
        t.expand_to(&shape)
    };
    let (a, b) = (wide(a), wide(b));
    Ok((Matrices::of(name, &a, true)?, Matrices::of(name, &b, false)?.flat))
}
