//! One way through a module tree, on which everything that asks about modules is built.

use std::sync::Arc;

use crate::derived::{Derived, Style};
use crate::module::{Module, Visitor};
use crate::nn::Uninitialised;
use crate::param::{Buffer, Parameter};
use crate::site::{Mode, Site};

/// What a walk meets.
pub(crate) enum Item<'a> {
    /// A module, before what is in it.
    Module(&'a dyn Head),
    Site(&'a Site),
    Mode(&'a Mode),
    Parameter(&'a Parameter),
    Buffer(&'a Buffer),
    /// What makes the value of a parameter, at the place of that parameter. Its originals come as parameters.
    Derived(&'a Derived),
}

/// What a walk says of a module. A trait of its own: if it were `dyn Module`, walking a module of unknown size would
/// need a module around it, and that one again.
pub(crate) trait Head {
    fn kind(&self) -> &'static str;
    fn uninitialised(&self) -> Option<&dyn Uninitialised>;
}

struct Of<'a, M: ?Sized>(&'a M);

impl<M: Module + ?Sized> Head for Of<'_, M> {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }
    fn uninitialised(&self) -> Option<&dyn Uninitialised> {
        self.0.uninitialised()
    }
}

/// Meets `root` and all below it with their paths, in torch's order: of each module its parameters first,
/// then its buffers, then its children, then what its parameters are made of.
pub(crate) fn walk<M: Module + ?Sized>(root: &M, f: &mut dyn FnMut(&str, Item<'_>)) {
    let mut path = String::new();
    descend(root, &mut path, f);
}

fn descend<M: Module + ?Sized>(module: &M, path: &mut String, f: &mut dyn FnMut(&str, Item<'_>)) {
    f(path, Item::Module(&Of(module)));
    if let Some(site) = module.site() {
        f(path, Item::Site(site));
    }
    passes(path, f, &|visitor| module.visit(visitor));
}

fn passes(path: &mut String, f: &mut dyn FnMut(&str, Item<'_>), visit: &dyn Fn(&mut dyn Visitor)) {
    for pass in [Pass::Parameters, Pass::Buffers, Pass::Children, Pass::Originals] {
        visit(&mut Walker { path, pass, f });
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Parameters,
    Buffers,
    Children,
    Originals,
}

struct Walker<'a> {
    path: &'a mut String,
    pass: Pass,
    f: &'a mut dyn FnMut(&str, Item<'_>),
}

impl Walker<'_> {
    /// Runs `inside` with the path of the child `name`.
    fn at(&mut self, name: &str, inside: impl FnOnce(&mut String, &mut dyn FnMut(&str, Item<'_>))) {
        let length = self.path.len();
        push(self.path, name);
        inside(self.path, self.f);
        self.path.truncate(length);
    }
}

impl Walker<'_> {
    /// The parameter `name`, whose value is made of others.
    fn derived(&mut self, name: &str, derived: &Derived) {
        if self.pass == Pass::Parameters {
            self.at(name, |path, f| f(path, Item::Derived(derived)));
        }
        match derived.style {
            Style::Below if self.pass == Pass::Originals => {
                self.at(&format!("parametrizations.{name}"), |path, f| {
                    let mut inside = Walker { path, pass: Pass::Parameters, f };
                    derived.originals.iter().for_each(|(original, p)| inside.parameter(original, p));
                    for (k, step) in derived.steps.iter().enumerate() {
                        inside.at(&k.to_string(), |path, f| descend(step.as_ref(), path, f));
                    }
                });
            }
            Style::Below => {}
            Style::Beside => {
                if self.pass == Pass::Parameters {
                    for (original, p) in &derived.originals {
                        self.parameter(&format!("{name}_{original}"), p);
                    }
                }
                let mut beside = Beside { walker: self, name };
                derived.steps.iter().for_each(|step| step.visit(&mut beside));
            }
        }
    }
}

/// Shows what belongs to a step as if it stood in the module itself: `weight_mask`.
struct Beside<'a, 'b> {
    walker: &'a mut Walker<'b>,
    name: &'a str,
}

impl Visitor for Beside<'_, '_> {
    fn parameter(&mut self, name: &str, parameter: &Parameter) {
        self.walker.parameter(&format!("{}_{name}", self.name), parameter);
    }
    fn buffer(&mut self, name: &str, buffer: &Buffer) {
        self.walker.buffer(&format!("{}_{name}", self.name), buffer);
    }
    fn site(&mut self, _site: &Site) {}
    fn mode(&mut self, mode: &Mode) {
        self.walker.mode(mode);
    }
    fn module(&mut self, _name: &str, _module: &dyn Module) {}
    fn group(&mut self, _name: &str, _kind: &'static str, _visit: &dyn Fn(&mut dyn Visitor)) {}
}

/// Appends a part to a path.
pub(crate) fn push(path: &mut String, name: &str) {
    if !path.is_empty() && !name.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

impl Visitor for Walker<'_> {
    fn parameter(&mut self, name: &str, parameter: &Parameter) {
        if let Some(derived) = parameter.derived() {
            return self.derived(name, &derived);
        }
        if self.pass == Pass::Parameters {
            self.at(name, |path, f| f(path, Item::Parameter(parameter)));
        }
    }
    fn buffer(&mut self, name: &str, buffer: &Buffer) {
        if self.pass == Pass::Buffers {
            self.at(name, |path, f| f(path, Item::Buffer(buffer)));
        }
    }
    fn site(&mut self, site: &Site) {
        if self.pass == Pass::Parameters {
            (self.f)(self.path, Item::Site(site));
        }
    }
    fn mode(&mut self, mode: &Mode) {
        if self.pass == Pass::Parameters {
            (self.f)(self.path, Item::Mode(mode));
        }
    }
    fn module(&mut self, name: &str, module: &dyn Module) {
        if self.pass == Pass::Children {
            self.at(name, |path, f| descend(module, path, f));
        }
    }
    fn group(&mut self, name: &str, _kind: &'static str, visit: &dyn Fn(&mut dyn Visitor)) {
        if self.pass == Pass::Children {
            self.at(name, |path, f| passes(path, f, visit));
        }
    }
}

/// Calls `f` with every module below `module`, and then with `module`, each with its path.
pub(crate) fn apply(module: &dyn Module, path: &mut String, f: &mut dyn FnMut(&str, &dyn Module)) {
    module.visit(&mut Applied { path, f });
    f(path, module);
}

struct Applied<'a> {
    path: &'a mut String,
    f: &'a mut dyn FnMut(&str, &dyn Module),
}

impl Applied<'_> {
    fn at(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        push(self.path, name);
        inside(self);
        self.path.truncate(length);
    }
}

impl Visitor for Applied<'_> {
    fn parameter(&mut self, _name: &str, _parameter: &Parameter) {}
    fn buffer(&mut self, _name: &str, _buffer: &Buffer) {}
    fn site(&mut self, _site: &Site) {}
    fn mode(&mut self, _mode: &Mode) {}
    fn module(&mut self, name: &str, module: &dyn Module) {
        self.at(name, |it| apply(module, it.path, it.f));
    }
    fn group(&mut self, name: &str, _kind: &'static str, visit: &dyn Fn(&mut dyn Visitor)) {
        self.at(name, |it| visit(it));
    }
}

/// The path of a module without a site: that of the first site in it, without the way from here to there.
/// Where that site does not know its path, or knows one from a smaller root, all is named from here. `None`
/// where there is no site.
pub(crate) fn first_site<M: Module + ?Sized>(module: &M) -> Option<Arc<str>> {
    let mut finder = Finder { relative: String::new(), found: None };
    module.visit(&mut finder);
    let known = finder.found?;
    let relative = finder.relative.as_str();
    let head = known.as_deref().and_then(|path| path.strip_suffix(relative));
    match head {
        Some("") => Some("".into()),
        // A site of the module's own: nothing is between.
        Some(head) if relative.is_empty() => Some(head.into()),
        Some(head) if head.ends_with('.') => Some(head[..head.len() - 1].into()),
        _ => {
            crate::site::name(module);
            Some("".into())
        }
    }
}

struct Finder {
    relative: String,
    /// The path that the first site knows.
    found: Option<Option<Arc<str>>>,
}

impl Finder {
    fn at(&mut self, name: &str, inside: impl FnOnce(&mut Finder)) {
        let length = self.relative.len();
        push(&mut self.relative, name);
        inside(self);
        if self.found.is_none() {
            self.relative.truncate(length);
        }
    }
}

impl Visitor for Finder {
    fn parameter(&mut self, _name: &str, _parameter: &Parameter) {}
    fn buffer(&mut self, _name: &str, _buffer: &Buffer) {}
    fn mode(&mut self, _mode: &Mode) {}
    fn site(&mut self, site: &Site) {
        if self.found.is_none() {
            self.found = Some(site.path());
        }
    }
    fn module(&mut self, name: &str, module: &dyn Module) {
        if self.found.is_none() {
            self.at(name, |finder| match module.site() {
                Some(site) => finder.site(site),
                None => module.visit(finder),
            });
        }
    }
    fn group(&mut self, name: &str, _kind: &'static str, visit: &dyn Fn(&mut dyn Visitor)) {
        if self.found.is_none() {
            self.at(name, |finder| visit(finder));
        }
    }
}
