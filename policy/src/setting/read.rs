use serde_json::Value;

use super::{at::At, shape::Shape};
use crate::field::refused;

/// A type that can be read from the settings.
pub trait Setting: Sized {
    const SHAPE: Shape;

    /// Reads `value`, and reports everything that is wrong with it to `at`. `None` when it can't be read at all.
    fn read(value: &Value, at: &At) -> Option<Self>;
}

impl<T: Setting> Setting for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn read(value: &Value, at: &At) -> Option<Self> {
        T::read(value, at).map(Some)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);

    fn read(value: &Value, at: &At) -> Option<Self> {
        let Some(items) = value.as_array() else {
            at.refuse(&refused(Some(value), "a list"));
            return None;
        };
        Some(items.iter().enumerate().filter_map(|(index, item)| T::read(item, &at.item(index))).collect())
    }
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Flag;

    fn read(value: &Value, at: &At) -> Option<Self> {
        let flag = value.as_bool();
        if flag.is_none() {
            at.refuse(&refused(Some(value), "true or false"));
        }
        flag
    }
}

/// Declares a struct whose fields are the members of a section, in the order in which they are documented.
///
/// An absent member has its type's default. An optional `check` after the fields gets the section, the JSON that it was
/// read from, and its position, and refuses members that contradict each other.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        pub struct $Name:ident { $( #[doc = $about:literal] $(#[doc = $more:literal])* pub $field:ident = $name:literal: $Type:ty, )* }
        $( check $check:expr )?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $Name { $( #[doc = $about] $(#[doc = $more])* pub $field: $Type, )* }

        impl $Name {
            pub const MEMBERS: &'static [$crate::setting::Member] = &[
                $( $crate::setting::Member {
                    name: $name,
                    about: concat!($about $(, $more)*),
                    shape: &<$Type as $crate::setting::Setting>::SHAPE,
                }, )*
            ];

            /// Reads the members from an object whose names are known.
            pub fn read_members(object: &$crate::request::Object, at: &$crate::setting::At) -> Self {
                use $crate::setting::Setting;
                let section = Self {
                    $( $field: object.get($name).and_then(|value| <$Type>::read(value, &at.member($name))).unwrap_or_default(), )*
                };
                $( $check(&section, object, at); )?
                section
            }
        }

        impl $crate::setting::Setting for $Name {
            const SHAPE: $crate::setting::Shape = $crate::setting::Shape::Section(Self::MEMBERS);

            fn read(value: &serde_json::Value, at: &$crate::setting::At) -> Option<Self> {
                Some(Self::read_members(at.section(value, Self::MEMBERS)?, at))
            }
        }
    };
}
pub(crate) use section;

/// Makes scalars that are read with [`FromJson`](crate::field::FromJson), such as `8h` or `4Gi`, settings too.
macro_rules! scalars {
    ($( $Type:ty: $shape:expr, )*) => {
        $(
            impl $crate::setting::Setting for $Type {
                const SHAPE: $crate::setting::Shape = $shape;

                fn read(value: &serde_json::Value, at: &$crate::setting::At) -> Option<Self> {
                    <$Type as $crate::field::FromJson>::from_json(Some(value)).map_err(|invalid| at.refuse(&invalid)).ok()
                }
            }
        )*
    };
}
pub(crate) use scalars;
