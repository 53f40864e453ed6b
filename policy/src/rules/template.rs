use vdi_api::Invalid;

use super::rule::{Context, Field};
use crate::{
    field,
    host::find_template,
    values::template_name::{TEMPLATE_NAME, is_template_name},
};

pub fn allowed(field: &Field, context: &Context) -> Result<(), Invalid> {
    let name = field::parse(field.value, TEMPLATE_NAME, |name| is_template_name(name).then(|| name.to_owned()))?;
    if let Some(globs) = context.site.templates_for(context.request.requester.as_ref())
        && !globs.iter().any(|glob| glob.matches(&name))
    {
        let globs: Vec<_> = globs.iter().map(ToString::to_string).collect();
        let allowed = if globs.is_empty() { "none for the requester's groups".to_owned() } else { globs.join(", ") };
        return Err(Invalid::text(&name, allowed));
    }
    if context.site.template_must_exist {
        find_template(context.host, &name)
            .map_err(|why| Invalid::text(&name, format!("the name of an existing VDITemplate ({why})")))?;
    }
    Ok(())
}
