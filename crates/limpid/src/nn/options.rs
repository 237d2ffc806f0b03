//! Structs of keyword arguments: each field with torch's name, its default, and a setter.

/// `tensors` are absent by default; `values` have their defaults beside them.
macro_rules! options {
    (
        $(#[$meta:meta])*
        $name:ident {
            tensors { $($(#[$tensor_doc:meta])* $tensor:ident,)* }
            values { $($(#[$value_doc:meta])* $value:ident: $type:ty = $default:expr,)* }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[$tensor_doc])* pub $tensor: Option<Tensor>,)*
            $($(#[$value_doc])* pub $value: $type,)*
        }

        impl Default for $name {
            fn default() -> $name {
                $name { $($tensor: None,)* $($value: $default,)* }
            }
        }

        impl $name {
            /// Torch's defaults.
            pub fn new() -> $name {
                $name::default()
            }

            $(
                $(#[$tensor_doc])*
                pub fn $tensor(mut self, $tensor: &Tensor) -> $name {
                    self.$tensor = Some($tensor.clone());
                    self
                }
            )*

            $(
                $(#[$value_doc])*
                pub fn $value(mut self, $value: $type) -> $name {
                    self.$value = $value;
                    self
                }
            )*
        }
    };
}

pub(crate) use options;
