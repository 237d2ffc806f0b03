//! Modules one after the other.

use std::ops::Index;

use limpid_core::Tensor;

use crate::module::{Forward, Module, Visitor};
use crate::nn::Uninitialised;
use crate::site::{Scope, Site};

/// Modules one after the other: each takes the result of the one before.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(Linear::new(64, 32)).add(ReLU).add(Linear::new(32, 10));
/// assert_eq!(*model.forward(&Tensor::zeros([8, 64])).shape(), Shape::from([8, 10]));
/// let deep: Sequential = (0..3).map(|_| Linear::new(4, 4)).collect();
/// assert_eq!(deep.len(), 3);
/// assert_eq!(deep[1].kind(), "Linear");
/// ```
pub struct Sequential {
    items: Vec<Item>,
    site: Site,
}

/// A module and its place: modules without a site take that of the place.
struct Item {
    site: Site,
    module: Box<dyn Forward>,
}

impl Module for Item {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.module.visit(visitor);
    }
    fn kind(&self) -> &'static str {
        self.module.kind()
    }
    fn label(&self) -> String {
        self.module.label()
    }
    fn extra_repr(&self) -> String {
        self.module.extra_repr()
    }
    fn site(&self) -> Option<&Site> {
        Some(self.module.site().unwrap_or(&self.site))
    }
    fn uninitialised(&self) -> Option<&dyn Uninitialised> {
        self.module.uninitialised()
    }
}

impl Sequential {
    /// Without modules it returns its input.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> Sequential {
        Sequential { items: Vec::new(), site: Site::here() }
    }

    /// Appends a module.
    #[track_caller]
    #[expect(clippy::should_implement_trait, reason = "a module is appended, nothing is summed")]
    pub fn add(mut self, module: impl Forward + 'static) -> Sequential {
        self.push(Box::new(module));
        self
    }

    /// Appends a module in place.
    #[track_caller]
    pub fn push(&mut self, module: Box<dyn Forward>) {
        self.items.push(Item { site: Site::here(), module });
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The modules in order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Forward> {
        self.items.iter().map(|item| &*item.module)
    }
}

impl Index<usize> for Sequential {
    type Output = dyn Forward;
    fn index(&self, i: usize) -> &Self::Output {
        &*self.items[i].module
    }
}

impl<F: Forward + 'static> FromIterator<F> for Sequential {
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = F>>(modules: I) -> Sequential {
        modules.into_iter().fold(Sequential::new(), Sequential::add)
    }
}

impl<F: Forward + 'static> Extend<F> for Sequential {
    fn extend<I: IntoIterator<Item = F>>(&mut self, modules: I) {
        modules.into_iter().for_each(|module| self.push(Box::new(module)));
    }
}

impl Module for Sequential {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (i, item) in self.items.iter().enumerate() {
            visitor.module(&i.to_string(), item);
        }
    }
    fn kind(&self) -> &'static str {
        "Sequential"
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Sequential {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let mut y = x.clone();
        for item in &self.items {
            y = match item.module.site() {
                Some(_) => item.module.forward(&y),
                None => {
                    let place = Scope::enter_at(&item.site, item);
                    place.output(item.module.forward(&y))
                }
            };
        }
        scope.output(y)
    }
}

impl std::fmt::Display for Sequential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl std::fmt::Debug for Sequential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}
