//! What a program that trains a network needs: `use limpid::prelude::*;`.

pub use crate::data::{Dataset, datasets};
pub use crate::loss::*;
pub use crate::nn::*;
pub use crate::optim::{
    ASGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, ChainedScheduler, ClipNorm, ConstantLR, CosineAnnealingLR,
    CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR, Gradients, Group, LBFGS, LambdaLR, LinearLR, LossExt,
    LrScheduler, MultiStepLR, MultiplicativeLR, Muon, NAdam, OneCycleLR, Optimizer, PolynomialLR, RAdam, RMSprop,
    ReduceLROnPlateau, Rprop, SGD, SWALR, Schedule, SequentialLR, SparseAdam, StepLR, StepLoss,
};
pub use crate::train::accuracy;
pub use crate::{
    AttentionOptions, AvgPoolOptions, ConvOptions, ConvTransposeOptions, FoldOptions, FractionalMaxPoolOptions,
    MaxPoolOptions, MaxUnpoolOptions, OutputSizes, PadMode, Padding,
};
pub use crate::{
    BagMode, Buffer, DType, EmbeddingBagOptions, EmbeddingOptions, Forward, Mode, Module, NormOptions, Parameter, Rng,
    Seen, Shape, Site, Sizes, StateDict, Statistics, Tap, Tensor, eval, fallible, forward, gradients, manual_seed,
    no_grad, tap,
};
pub use crate::{FftNorm, StftOptions};
pub use crate::{GridMode, GridOptions, GridPadding, InterpolateMode, InterpolateOptions};
