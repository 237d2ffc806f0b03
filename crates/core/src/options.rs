//! Arguments by name: structs of options, each field with torch's name, its default, and a setter of that name.

/// A struct of options: its `Default` and `new()` are torch's defaults, and each field has a setter of its name.
/// `tensors` and `optional` fields are absent by default; `optional` and `into` take whatever becomes the field's type.
#[doc(hidden)]
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(tensors { $($(#[$tensor_doc:meta])* $tensor:ident,)* })?
            $(optional { $($(#[$optional_doc:meta])* $optional:ident: $optional_type:ty,)* })?
            $(into { $($(#[$into_doc:meta])* $into:ident: $into_type:ty = $into_default:expr,)* })?
            $(values { $($(#[$value_doc:meta])* $value:ident: $type:ty = $default:expr,)* })?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($($(#[$tensor_doc])* pub $tensor: Option<Tensor>,)*)?
            $($($(#[$optional_doc])* pub $optional: Option<$optional_type>,)*)?
            $($($(#[$into_doc])* pub $into: $into_type,)*)?
            $($($(#[$value_doc])* pub $value: $type,)*)?
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $($($tensor: None,)*)?
                    $($($optional: None,)*)?
                    $($($into: $into_default.into(),)*)?
                    $($($value: $default,)*)?
                }
            }
        }

        impl $name {
            /// Torch's defaults.
            pub fn new() -> $name {
                $name::default()
            }

            $($(
                $(#[$tensor_doc])*
                pub fn $tensor(mut self, $tensor: &Tensor) -> $name {
                    self.$tensor = Some($tensor.clone());
                    self
                }
            )*)?

            $($(
                $(#[$optional_doc])*
                pub fn $optional(mut self, $optional: impl Into<$optional_type>) -> $name {
                    self.$optional = Some($optional.into());
                    self
                }
            )*)?

            $($(
                $(#[$into_doc])*
                pub fn $into(mut self, $into: impl Into<$into_type>) -> $name {
                    self.$into = $into.into();
                    self
                }
            )*)?
        }

        $crate::setters! { $name { $($($(#[$value_doc])* $value: $type,)*)? } }
    };
}

/// Setters of the names of fields; those of `Name by method` call that method with the name instead.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        impl $name {
            $(
                $(#[$doc])*
                pub fn $field(mut self, $field: $type) -> $name {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
    ($name:ident by $method:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        impl $name {
            $(
                $(#[$doc])*
                pub fn $field(self, $field: $type) -> $name {
                    self.$method(stringify!($field), $field)
                }
            )*
        }
    };
}
