//! The macros against small stand-ins of what the library has under these names.

// Expansions say `::limpid::…`: this file plays that crate.
extern crate self as limpid;

use limpid_derive::{Module, forward};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::Location;

pub trait Visitor {
    fn meet(&mut self, name: &str, what: String);
}
pub trait Module {
    fn visit(&self, visitor: &mut dyn Visitor);
    fn kind(&self) -> &'static str;
    fn label(&self) -> String {
        self.kind().to_owned()
    }
    fn extra_repr(&self) -> String {
        String::new()
    }
    fn site(&self) -> Option<&Site> {
        None
    }
}
#[derive(Debug, PartialEq)]
pub struct Site(u8);
pub trait Field {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor);
}
impl Field for f32 {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        visitor.meet(name, self.to_string());
    }
}
impl<M: Module> Field for M {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        visitor.meet(name, self.kind().to_owned());
    }
}
impl<T: Field, const N: usize> Field for [T; N] {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        self.iter().enumerate().for_each(|(at, item)| item.visit_field(&format!("{name}.{at}"), visitor));
    }
}

thread_local!(static OPEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) });
#[derive(Debug)]
pub struct Scope;
impl Scope {
    pub fn enter<M: Module + ?Sized>(module: &M) -> Scope {
        OPEN.with_borrow_mut(|open| open.push(module.kind()));
        Scope
    }
}
impl Drop for Scope {
    fn drop(&mut self) {
        OPEN.with_borrow_mut(|open| open.pop());
    }
}
fn open() -> Vec<&'static str> {
    OPEN.with_borrow(Clone::clone)
}

#[derive(Default)]
struct Seen(Vec<String>);
impl Visitor for Seen {
    fn meet(&mut self, name: &str, what: String) {
        self.0.push(format!("{name}={what}"));
    }
}
fn seen(module: &dyn Module) -> String {
    let mut seen = Seen::default();
    module.visit(&mut seen);
    format!("{}: {}", module.kind(), seen.0.join(" "))
}

#[derive(Module, Clone, Copy)]
struct Leaf;

#[derive(Module)]
#[allow(dead_code)]
pub(crate) struct Net {
    /// A documented field.
    pub conv: Leaf,
    #[module(rename = "weight_ih_l0")]
    pub(in crate::limpid) weight: f32,
    #[module(skip)]
    width: Vec<(usize, std::collections::HashMap<String, fn(u8, u8) -> Option<u8>>)>,
    r#type: [f32; 2],
}

#[derive(Module)]
struct Pair(#[module(skip)] pub usize, pub Leaf, #[module(rename = "bias")] f32);

#[derive(Module)]
struct Empty {}

#[derive(Module)]
struct Generic<'a, A: Field, F = fn(u8) -> u8, const N: usize = 2>
where
    A: Clone,
    F: Fn(u8) -> u8,
{
    inner: [A; N],
    #[module(skip)]
    call: &'a F,
    #[module(skip)]
    none: PhantomData<<Vec<A> as IntoIterator>::Item>,
}

#[derive(Module)]
struct Held<A, B>(A, B)
where
    A: Field,
    B: Field;

macro_rules! layer {
    ($name:ident, $vis:vis $field:ident: $ty:ty) => {
        #[derive(Module)]
        struct $name {
            $vis $field: $ty,
            local: f32,
        }
        impl $name {
            #[forward]
            fn forward(&self) -> Vec<&'static str> {
                open()
            }
        }
    };
}
layer!(Made, pub(crate) inner: [Leaf; 1]);

#[test]
fn fields_are_visited_in_order_under_their_names() {
    let net = Net { conv: Leaf, weight: 1.5, width: vec![], r#type: [1.0, 2.0] };
    assert_eq!(seen(&net), "Net: conv=Leaf weight_ih_l0=1.5 type.0=1 type.1=2");
    assert_eq!(seen(&Pair(3, Leaf, 0.5)), "Pair: 1=Leaf bias=0.5");
    assert_eq!(seen(&Leaf), "Leaf: ");
    assert_eq!(seen(&Empty {}), "Empty: ");
}

#[test]
fn generics_keep_bounds_and_lose_defaults() {
    let call = |x: u8| x + 1;
    let generic = Generic { inner: [Leaf, Leaf], call: &call, none: PhantomData };
    assert_eq!(seen(&generic), "Generic: inner.0=Leaf inner.1=Leaf");
    assert_eq!((generic.call)(1), 2);
    assert_eq!(generic.none, PhantomData);
    assert_eq!(seen(&Held(1.0, Leaf)), "Held: 0=1 1=Leaf");
}

#[test]
fn structs_and_methods_that_a_macro_wrote() {
    let made = Made { inner: [Leaf], local: 2.0 };
    assert_eq!(seen(&made), "Made: inner.0=Leaf local=2");
    assert_eq!(made.forward(), ["Made"]);
}

trait Forward: Module {
    fn forward(&self, x: i64) -> i64;
}
impl Forward for Pair {
    #[forward]
    fn forward(&self, x: i64) -> i64 {
        assert_eq!(open(), ["Net", "Pair"]);
        x + self.0 as i64
    }
}
impl Net {
    /// A method with all that can stand in a signature.
    #[allow(clippy::multiple_bound_locations, clippy::needless_lifetimes)]
    #[forward]
    pub fn forward<'a, F: Fn(i64) -> i64>(&'a self, x: i64, f: F) -> Option<(&'a f32, i64)>
    where
        F: Clone,
    {
        // The guard's name is free for the body.
        let _scope = ();
        if x < 0 {
            return None;
        }
        let y = u8::try_from(x).ok()?;
        Some((&self.weight, Pair(1, Leaf, 0.0).forward(f(y.into()))))
    }

    #[forward]
    #[track_caller]
    fn caller(&self) -> &'static Location<'static> {
        Location::caller()
    }

    #[forward]
    fn inside(&self) -> [u32; 2] {
        [self.caller().line(), line!()]
    }
}

#[test]
fn a_method_runs_in_the_scope_of_self_and_leaves_it() {
    let net = Net { conv: Leaf, weight: 1.5, width: vec![], r#type: [1.0, 2.0] };
    assert_eq!(net.forward(5, |x| x * 2), Some((&1.5, 11)));
    assert_eq!(net.forward(-1, |x| x), None);
    assert_eq!(net.forward(256, |x| x), None);
    assert!(std::panic::catch_unwind(|| net.conv_panics()).is_err());
    assert_eq!(open(), [""; 0]);
}
impl Net {
    #[forward]
    fn conv_panics(&self) {
        panic!("on purpose")
    }
}

#[test]
fn what_a_method_calls_knows_the_line_in_its_body() {
    let net = Net { conv: Leaf, weight: 0.0, width: vec![], r#type: [0.0, 0.0] };
    let line = line!();
    assert_eq!(net.caller().line(), line + 1, "a method that asks for its caller's line gets it");
    let [called, here] = net.inside();
    assert_eq!(called, here);
}

#[derive(Module)]
#[module(kind = name, label = title, extra_repr = arguments)]
struct Layer {
    a: f32,
    #[module(site)]
    at: Site,
}
impl Layer {
    fn name(&self) -> &'static str {
        "Layer1d"
    }
    fn title(&self) -> String {
        format!("Layer {}", self.a)
    }
    fn arguments(&self) -> String {
        format!("a={}", self.a)
    }
}

#[test]
fn a_layer_says_of_itself_what_its_methods_say() {
    let layer = Layer { a: 1.5, at: Site(3) };
    assert_eq!(seen(&layer), "Layer1d: a=1.5");
    assert_eq!((layer.label(), layer.extra_repr()), ("Layer 1.5".to_owned(), "a=1.5".to_owned()));
    assert_eq!(layer.site(), Some(&Site(3)));
    assert_eq!(Module::site(&layer).map(|s| s.0), Some(3));
}
