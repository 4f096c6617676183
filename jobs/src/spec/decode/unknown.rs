use super::{Decoder, Place};
use crate::spec::problem::nearest;
use crate::spec::schema::Schema;

impl Decoder<'_, '_> {
    pub(super) fn unknown_attribute(&mut self, name: &str, span: Place, schema: &Schema) {
        let message =
            format!("Unsupported argument; An argument named \"{name}\" is not expected here.");
        if let Some((_, instead)) = schema.foreign.iter().find(|(known, _)| *known == name) {
            self.report(span, message, *instead);
            return;
        }
        let hint = nearest(name, schema.attributes.iter().map(|known| known.name))
            .map(|known| format!("Did you mean \"{known}\"?"))
            .or_else(|| {
                nearest(name, schema.blocks.iter().map(|known| known.name))
                    .map(|known| format!("Did you mean to define a block of type \"{known}\"?"))
            });
        self.report(span, message, hint.unwrap_or_default());
    }

    pub(super) fn unknown_block(&mut self, name: &str, span: Place, schema: &Schema) {
        let message =
            format!("Unsupported block type; Blocks of type \"{name}\" are not expected here.");
        let hint = if schema.attributes.iter().any(|known| known.name == name) {
            Some(format!(
                "Did you mean to define argument \"{name}\"? If so, use the equals sign to assign it a value."
            ))
        } else {
            nearest(name, schema.blocks.iter().map(|known| known.name))
                .map(|known| format!("Did you mean \"{known}\"?"))
        };
        self.report(span, message, hint.unwrap_or_default());
    }
}
