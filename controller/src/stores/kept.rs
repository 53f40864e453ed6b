/// Lets a store find what is kept of a resource by its name. Uid and version would be kept a second time, and nobody asks for them.
macro_rules! kept_of {
    ($kept:ty, $whole:ty, $namespace:expr) => {
        impl kube::runtime::reflector::Lookup for $kept {
            vdi_service::same_kind!($whole);

            fn name(&self) -> Option<std::borrow::Cow<'_, str>> {
                Some(std::borrow::Cow::Borrowed(&self.name))
            }

            fn namespace(&self) -> Option<std::borrow::Cow<'_, str>> {
                let namespace: fn(&Self) -> Option<&str> = $namespace;
                namespace(self).map(std::borrow::Cow::Borrowed)
            }

            fn resource_version(&self) -> Option<std::borrow::Cow<'_, str>> {
                None
            }

            fn uid(&self) -> Option<std::borrow::Cow<'_, str>> {
                None
            }
        }
    };
}

pub(crate) use kept_of;
