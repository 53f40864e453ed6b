/// Lets a store look up what is kept of a resource by name. Nobody asks for the uid and the version, so they aren't kept.
macro_rules! lookup_by_name {
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

pub(crate) use lookup_by_name;
