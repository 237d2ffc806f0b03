//! Parameters whose value is a function of other parameters: `torch.nn.utils.parametrize`.
//!
//! A parametrization is put on a parameter of any module; the module is not changed. From then on its value is computed
//! from *originals* at every pass, which are what an optimizer trains and a state dict holds, named as in torch:
//! `parametrizations.weight.original`, or `original0`, `original1`, … where there are several. What torch's `cached()`
//! is for needs nothing here: values that are computed twice in a plan are computed once.

use std::sync::Arc;

use limpid_core::{Error, Result, Tensor, eval};

use crate::derived::{Derived, Style};
use crate::module::Module;
use crate::param::Parameter;

/// A function whose value a parameter has. It may have parameters, buffers and a [`Mode`](crate::Mode) of its own.
///
/// ```
/// use limpid::nn::utils::parametrize::{self, Parametrization};
/// use limpid::prelude::*;
/// #[derive(Module)]
/// struct Symmetric;
/// impl Parametrization for Symmetric {
///     fn forward(&self, originals: &[Tensor]) -> Tensor {
///         originals[0].triu(0) + originals[0].triu(1).t()
///     }
/// }
/// let layer = Linear::new(3, 3);
/// parametrize::register_parametrization(&layer.weight, Symmetric)?;
/// let w = layer.weight.value()?;
/// assert_eq!(w.to_vec::<f32>()?, w.t().to_vec::<f32>()?);
/// assert_eq!(layer.state_dict().names().collect::<Vec<_>>(), ["bias", "parametrizations.weight.original"]);
/// # Ok::<(), limpid::Error>(())
/// ```
pub trait Parametrization: Module {
    /// The value: of the shape and type that the parameter has.
    #[track_caller]
    fn forward(&self, originals: &[Tensor]) -> Tensor;

    /// Originals for which [`Parametrization::forward`] gives `value`, or what comes near. The value itself, unless it
    /// is written otherwise.
    ///
    /// # Errors
    /// Where there are none.
    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![value.clone()])
    }
}

/// Gives `parameter` the value of `parametrization`. Where it has one already, the new one is applied to its value.
///
/// A single original is the parameter as it was: an optimizer made before trains it.
///
/// # Errors
/// When the value would have another shape or type, or can not be computed; nothing is changed then.
pub fn register_parametrization(parameter: &Parameter, parametrization: impl Parametrization + 'static) -> Result<()> {
    let step: Arc<dyn Parametrization> = Arc::new(parametrization);
    match parameter.derived() {
        None => put(parameter, Style::Below, &[], step),
        Some(old) if old.style == Style::Below => {
            let originals = old.originals.clone();
            let steps = old.steps.iter().cloned().chain([step]).collect();
            install(parameter, Derived { style: Style::Below, originals, steps })
        }
        Some(_) => Err(Error::new(format!("parametrize: {parameter:?} is pruned, or normalised in the old way"))
            .help("prune::remove, or parametrize::remove_parametrizations, first")),
    }
}

/// Makes `parameter` a function of originals called so, or else as torch calls them.
pub(crate) fn put(parameter: &Parameter, style: Style, names: &[&str], step: Arc<dyn Parametrization>) -> Result<()> {
    let values = Derived::inverse(std::slice::from_ref(&step), &parameter.value()?)?;
    eval(&values)?;
    let trained = parameter.requires_grad();
    let mut originals = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let name = match names.get(i) {
            Some(name) => (*name).to_owned(),
            None if values.len() == 1 => "original".to_owned(),
            None => format!("original{i}"),
        };
        let same = values.len() == 1 && *value.shape() == parameter.shape() && value.dtype() == parameter.dtype();
        let original = if same { parameter.bare() } else { Parameter::new(&value.detach()) };
        original.requires_grad_(trained);
        originals.push((name, original));
    }
    let before = parameter.cell().value()?;
    let shared = originals.first().is_some_and(|(_, p)| p.cell().id() == parameter.cell().id());
    if shared {
        originals[0].1.set(&values[0])?;
    }
    let done = install(parameter, Derived { style, originals, steps: vec![step] });
    if done.is_err() && shared {
        parameter.bare().set(&before)?;
    }
    done
}

/// Puts `derived` on the parameter, if its value fits.
fn install(parameter: &Parameter, derived: Derived) -> Result<()> {
    let value = derived.value().detach();
    value.eval()?;
    if (value.shape(), value.dtype()) != (&parameter.shape(), parameter.dtype()) {
        let (shape, dtype) = (value.shape(), value.dtype());
        return Err(Error::new(format!("parametrize: the value of {parameter:?} would be {dtype} {shape}")));
    }
    parameter.set_derived(Some(Arc::new(derived)));
    Ok(())
}

/// Gives `to` the parametrizations of `from`, and its originals: from then on the two are tied. Nothing where `from` has
/// none. Torch's `transfer_parametrizations_and_params`, of one parameter.
///
/// # Errors
/// When `to` has a parametrization already, or another shape or type; nothing is changed then.
pub fn transfer_parametrizations(from: &Parameter, to: &Parameter) -> Result<()> {
    let Some(derived) = from.derived() else { return Ok(()) };
    if to.derived().is_some() {
        let error = Error::new(format!("parametrize: {to:?} has a parametrization already"));
        return Err(error.help("remove_parametrizations first"));
    }
    let Derived { style, originals, steps } = &*derived;
    install(to, Derived { style: *style, originals: originals.clone(), steps: steps.clone() })
}

/// Whether `parameter` has the value of a parametrization.
pub fn is_parametrized(parameter: &Parameter) -> bool {
    parameter.derived().is_some_and(|derived| derived.style == Style::Below)
}

/// Takes off the parametrizations of a parameter (also the old weight norm, or a mask). It keeps the value that they
/// give now, or with `leave_parametrized` false that of its original.
///
/// # Errors
/// Where there is none; where there are several originals to leave; when the value can not be computed.
pub fn remove_parametrizations(parameter: &Parameter, leave_parametrized: bool) -> Result<()> {
    let Some(derived) = parameter.derived() else {
        return Err(Error::new(format!("parametrize: {parameter:?} has no parametrization")));
    };
    let value = match (leave_parametrized, &derived.originals[..]) {
        (true, _) => derived.value().detach(),
        (false, [(_, original)]) => original.value()?,
        (false, several) => {
            let what = format!("parametrize: {parameter:?} has {} originals, none of which it can be", several.len());
            return Err(Error::new(what).help("leave_parametrized = true"));
        }
    };
    value.eval()?;
    let trained = parameter.requires_grad();
    parameter.set_derived(None);
    parameter.set(&value)?;
    parameter.requires_grad_(trained);
    Ok(())
}
