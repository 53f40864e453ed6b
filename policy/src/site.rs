//! What a site allows, as its administrator sets it. The defaults are safe.

use serde_json::Value;
use vdi_api::{Gpus, Invalid, Memory, Timeout};

use crate::{
    request::{Object, Requester},
    setting::{At, Count, Range, Setting, Shape, section},
    values::{domain::DomainPattern, image::Registry, template_name::Glob},
};

section! {
    /// What a site allows: the settings that rules read. docs/policy.md lists them with examples.
    pub struct Site {
        /// Which users may have sessions.
        pub users = "users": Users,
        /// How the policy identifies the requester.
        pub identity = "identity": Identity,
        /// Which templates a session may use, by the requester's groups. Empty: any template.
        pub templates = "templates": Templates,
        /// Whether to reject a session whose VDITemplate doesn't exist. Otherwise the session waits for it.
        pub template_must_exist = "templateMustExist": bool,
        /// How many GPUs a session may have.
        pub gpu = "gpu": Range<Gpus>,
        /// How much memory a session may have.
        pub memory = "memory": Range<Memory>,
        /// How long a session may run.
        pub timeout = "timeout": Range<Timeout>,
        /// Other ranges for some templates or groups. For each range, the first entry that matches the session and sets
        /// that range replaces the one above as a whole.
        pub overrides = "overrides": Vec<Override>,
        /// What one user may have at a time, across all namespaces.
        pub per_user = "perUser": PerUser,
        /// Which images a VDITemplate may use.
        pub images = "images": Images,
    }
}

section! {
    pub struct Users {
        /// The domains of their e-mail addresses; `*.example.com` matches any subdomain of example.com. Empty: any domain.
        pub allowed_domains = "allowedDomains": Vec<DomainPattern>,
    }
}

section! {
    pub struct Identity {
        /// The prefix before the e-mail address in the cluster's user names, such as `oidc:`.
        pub username_prefix = "usernamePrefix": Option<String>,
        /// Users who may act on everybody's sessions, by their full user names, in addition to those with the verb
        /// assign-user on vdisessions.
        /// Default: the controller's service account, `system:serviceaccount:vdiwarden-system:vdi-controller`.
        pub exempt_users = "exemptUsers": Option<Vec<String>>,
        /// Groups whose members may act on everybody's sessions.
        pub exempt_groups = "exemptGroups": Vec<String>,
        /// Users who write sessions for other people, and say for whom in annotations, by their full user names. Requests of
        /// theirs are judged as if those people had made them.
        /// Default: the gateway's service account, `system:serviceaccount:vdiwarden-system:vdi-gateway`.
        pub brokers = "brokers": Option<Vec<String>>,
    }
    check |identity: &Identity, _: &Object, at: &At| {
        if identity.username_prefix.as_deref() == Some("") {
            at.member("usernamePrefix").refuse(&Invalid::text("", "a prefix such as oidc:, or no such setting"));
        }
        for group in ["system:authenticated", "system:unauthenticated"] {
            if let Some(index) = identity.exempt_groups.iter().position(|exempt| exempt == group) {
                let allowed = "groups that don't include everybody; rules.user-identity: off lets everybody act for everybody";
                at.member("exemptGroups").item(index).refuse(&Invalid::text(group, allowed));
            }
        }
    }
}

impl Identity {
    /// As the chart names it, in the namespace that its documentation suggests.
    const CONTROLLER: &str = "system:serviceaccount:vdiwarden-system:vdi-controller";
    const GATEWAY: &str = "system:serviceaccount:vdiwarden-system:vdi-gateway";

    pub fn is_exempt(&self, requester: &Requester) -> bool {
        let by_name = match &self.exempt_users {
            Some(users) => users.iter().any(|user| user == requester.name),
            None => requester.name == Self::CONTROLLER,
        };
        by_name || self.exempt_groups.iter().any(|group| requester.groups.contains(&group.as_str()))
    }

    pub fn is_broker(&self, requester: &Requester) -> bool {
        match &self.brokers {
            Some(users) => users.iter().any(|user| user == requester.name),
            None => requester.name == Self::GATEWAY,
        }
    }
}

/// The setting `templates`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates(pub Vec<TemplateList>);

section! {
    pub struct TemplateList {
        /// The groups that may use these templates. Empty: everybody.
        pub groups = "groups": Vec<String>,
        /// Template names or globs: `*` matches any characters, `?` matches one.
        pub allow = "allow": Vec<Glob>,
    }
    check |_: &TemplateList, given: &Object, at: &At| {
        if given.get("allow").is_none_or(|allow| allow.as_array().is_some_and(Vec::is_empty)) {
            at.member("allow").refuse(&Invalid::value("nothing", "at least one name or glob; \"*\" allows any template"));
        }
    }
}

impl Setting for Templates {
    const SHAPE: Shape = Shape::List(&TemplateList::SHAPE);

    fn read(value: &Value, at: &At) -> Option<Self> {
        if value.is_object() {
            at.deprecate("use a list: templates: [{allow: [...]}]");
            return TemplateList::read(value, at).map(|list| Self(vec![list]));
        }
        Vec::read(value, at).map(Self)
    }
}

section! {
    pub struct Override {
        /// The templates that it applies to, as names or globs. Empty: all.
        pub templates = "templates": Vec<Glob>,
        /// The groups that it applies to. Empty: everybody.
        pub groups = "groups": Vec<String>,
        /// How many GPUs a session may have.
        pub gpu = "gpu": Option<Range<Gpus>>,
        /// How much memory a session may have.
        pub memory = "memory": Option<Range<Memory>>,
        /// How long a session may run.
        pub timeout = "timeout": Option<Range<Timeout>>,
    }
    check |_: &Override, given: &Object, at: &At| {
        if !["gpu", "memory", "timeout"].iter().any(|range| given.contains_key(*range)) {
            at.refuse(&Invalid::value("no range", "at least one of gpu, memory and timeout"));
        }
    }
}

section! {
    pub struct PerUser {
        /// The most sessions, including suspended ones.
        pub sessions = "sessions": Option<Count>,
        /// The most GPUs, in all of the user's sessions that aren't suspended.
        pub gpus = "gpus": Option<Count>,
    }
}

section! {
    pub struct Images {
        /// The registries that they may come from, optionally with a path prefix, such as
        /// `registry.example.com/desktops`. Empty: anywhere.
        pub registries = "registries": Vec<Registry>,
    }
}

/// The ranges that apply to a session. `None` where that depends on the requester, and there is none.
pub struct Ranges<'a> {
    pub gpu: Option<&'a Range<Gpus>>,
    pub memory: Option<&'a Range<Memory>>,
    pub timeout: Option<&'a Range<Timeout>>,
}

impl Site {
    /// The templates that the requester's groups may use; `None` means any. Without a requester, as in an audit, all that
    /// anybody may use.
    pub fn templates_for(&self, requester: Option<&Requester>) -> Option<Vec<&Glob>> {
        let lists = || self.templates.0.iter();
        let mine = lists().filter(|list| applies(&list.groups, requester).unwrap_or(true));
        lists().next().map(|_| mine.flat_map(|list| &list.allow).collect())
    }

    pub fn ranges(&self, template: Option<&str>, requester: Option<&Requester>) -> Ranges<'_> {
        Ranges {
            gpu: self.range(template, requester, &self.gpu, |it| it.gpu.as_ref()),
            memory: self.range(template, requester, &self.memory, |it| it.memory.as_ref()),
            timeout: self.range(template, requester, &self.timeout, |it| it.timeout.as_ref()),
        }
    }

    fn range<'a, T>(
        &'a self,
        template: Option<&str>,
        requester: Option<&Requester>,
        overall: &'a Range<T>,
        range_of: impl Fn(&'a Override) -> Option<&'a Range<T>>,
    ) -> Option<&'a Range<T>> {
        for it in &self.overrides {
            let Some(range) = range_of(it) else { continue };
            let is_for_template = it.templates.is_empty()
                || template.is_some_and(|name| it.templates.iter().any(|glob| glob.matches(name)));
            match applies(&it.groups, requester) {
                _ if !is_for_template => {}
                Some(true) => return Some(range),
                Some(false) => {}
                None => return None,
            }
        }
        Some(overall)
    }
}

/// Whether something for these groups applies to the requester; `None` when that is unknown, because there is none.
fn applies(groups: &[String], requester: Option<&Requester>) -> Option<bool> {
    if groups.is_empty() {
        return Some(true);
    }
    requester.map(|requester| groups.iter().any(|group| requester.groups.contains(&group.as_str())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::setting::Findings;

    fn site(value: Value) -> Site {
        let findings = Findings::default();
        let site = Site::read(&value, &At::root(&findings)).unwrap();
        assert!(findings.problems.into_inner().is_empty());
        site
    }

    fn member_of<'a>(group: &'a str) -> Requester<'a> {
        Requester { name: "alice@example.com", groups: vec![group] }
    }

    #[test]
    fn the_first_override_that_fits_counts() {
        let site = site(json!({
            "gpu": {"max": 1},
            "overrides": [
                {"templates": ["blender-*"], "groups": ["artists"], "gpu": {"max": 8}},
                {"templates": ["blender-*"], "gpu": {"max": 4}, "memory": {"max": "64Gi"}},
                {"groups": ["artists"], "gpu": {"max": 2}},
            ],
        }));
        let max = |template: &str, requester: Option<&Requester>| {
            site.ranges(Some(template), requester).gpu.and_then(|range| range.max).map(Gpus::get)
        };
        let (artist, other) = (member_of("artists"), member_of("others"));
        assert_eq!(max("blender-4", Some(&artist)), Some(8));
        assert_eq!(max("blender-4", Some(&other)), Some(4));
        assert_eq!(max("ubuntu", Some(&artist)), Some(2));
        assert_eq!(max("ubuntu", Some(&other)), Some(1));
        assert_eq!(max("ubuntu", None), None, "an audit can't know");
        assert_eq!(site.ranges(Some("ubuntu"), None).memory, Some(&Range::default()));
    }

    #[test]
    fn templates_are_allowed_by_group() {
        let site = site(json!({
            "templates": [{"allow": ["ubuntu"]}, {"groups": ["artists"], "allow": ["blender-*"]}],
        }));
        let names = |requester: Option<&Requester>| {
            site.templates_for(requester)
                .map(|globs| globs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names(Some(&member_of("artists"))).unwrap(), "ubuntu blender-*");
        assert_eq!(names(Some(&member_of("others"))).unwrap(), "ubuntu");
        assert_eq!(names(None).unwrap(), "ubuntu blender-*");
        assert_eq!(Site::default().templates_for(None), None);
    }
}
