//! Comparing a submitted form with the fields that it may have (XEP-0004 §4).

use stentor_jid::Jid;

use super::{FORM_TYPE, FieldKind, Form, FormKind, read_bool};

/// A field that may be submitted.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its name.
    pub var: &'static str,
    /// Its type, whatever the submitted field says of itself (§3.2).
    pub kind: FieldKind,
    /// Whether the form is invalid without a value for it.
    pub is_required: bool,
}

/// What is wrong with a submitted form. Which error that makes is up to the protocol around it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is not a submitted form at all.
    #[error("the form is not of type submit")]
    Kind,
    /// Its `FORM_TYPE` is absent or that of another form.
    #[error("the form has another FORM_TYPE")]
    FormType,
    /// A field that nobody knows.
    #[error("the field `{0}` is unknown")]
    Unknown(String),
    /// A required field has no value.
    #[error("the field `{0}` is required")]
    Missing(&'static str),
    /// A field of one value has several.
    #[error("the field `{0}` takes one value")]
    TooMany(&'static str),
    /// A value is not of the field's type.
    #[error("the field `{0}` has a value of another type")]
    Value(&'static str),
}

impl Expected {
    /// A field that may be left out.
    #[must_use]
    pub const fn optional(kind: FieldKind, var: &'static str) -> Self {
        Self { var, kind, is_required: false }
    }

    /// A field that must be there.
    #[must_use]
    pub const fn required(kind: FieldKind, var: &'static str) -> Self {
        Self { var, kind, is_required: true }
    }
}

impl Form {
    /// Checks a submitted form: its type, its `FORM_TYPE`, that required fields are there and that
    /// values are of the right number and type. Empty values count as absent (§3.6).
    ///
    /// # Errors
    /// The first [`Mismatch`]. [`Mismatch::Unknown`] comes last, for §3.1 lets an entity pass over
    /// fields that it does not know: where it is returned, all else is in order.
    pub fn check(&self, form_type: &str, expected: &[Expected]) -> Result<(), Mismatch> {
        if self.kind != FormKind::Submit {
            return Err(Mismatch::Kind);
        }
        if self.form_type() != Some(form_type) {
            return Err(Mismatch::FormType);
        }
        for field in expected {
            field.check(self)?;
        }
        let is_known = |var: &str| var == FORM_TYPE || expected.iter().any(|e| e.var == var);
        let mut vars = self.fields.iter().filter_map(|f| f.var.as_deref());
        match vars.find(|var| !is_known(var)) {
            Some(var) => Err(Mismatch::Unknown(var.to_owned())),
            None => Ok(()),
        }
    }
}

impl Expected {
    fn check(&self, form: &Form) -> Result<(), Mismatch> {
        let values = form.field(self.var).map_or([].as_slice(), |f| f.values.as_slice());
        let mut given = values.iter().filter(|v| !v.is_empty());
        if values.len() > 1 && !self.kind.is_multi() {
            return Err(Mismatch::TooMany(self.var));
        }
        if self.is_required && given.clone().next().is_none() {
            return Err(Mismatch::Missing(self.var));
        }
        let fits = given.all(|value| match self.kind {
            FieldKind::Boolean => read_bool(value).is_some(),
            FieldKind::JidSingle | FieldKind::JidMulti => Jid::new(value).is_ok(),
            _ => true,
        });
        if fits { Ok(()) } else { Err(Mismatch::Value(self.var)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Field;
    use super::*;

    const EXPECTED: &[Expected] = &[
        Expected::required(FieldKind::TextSingle, "name"),
        Expected::optional(FieldKind::Boolean, "public"),
        Expected::optional(FieldKind::JidMulti, "invite"),
    ];

    fn checked(fields: &[(&str, &[&str])]) -> Result<(), Mismatch> {
        let mut form = Form::new(FormKind::Submit).of_type("jabber:bot");
        for (var, values) in fields {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            form.fields.push(Field { var: Some((*var).into()), values, ..Field::default() });
        }
        form.check("jabber:bot", EXPECTED)
    }

    #[test]
    fn forms_are_checked_field_by_field() {
        let fine: &[(&str, &[&str])] = &[
            ("name", &["x"]),
            ("public", &["1"]),
            ("invite", &["romeo@montague.example", "capulet.example"]),
        ];
        assert_eq!(checked(fine), Ok(()));
        assert_eq!(checked(&[("name", &["x"]), ("public", &[""])]), Ok(()));
        assert_eq!(checked(&[]), Err(Mismatch::Missing("name")));
        assert_eq!(checked(&[("name", &[""])]), Err(Mismatch::Missing("name")));
        assert_eq!(checked(&[("name", &["x", "y"])]), Err(Mismatch::TooMany("name")));
        assert_eq!(
            checked(&[("name", &["x"]), ("public", &["maybe"])]),
            Err(Mismatch::Value("public"))
        );
        assert_eq!(
            checked(&[("name", &["x"]), ("invite", &["a@b@c"])]),
            Err(Mismatch::Value("invite"))
        );
        assert_eq!(
            checked(&[("name", &["x"]), ("odd", &["1"])]),
            Err(Mismatch::Unknown("odd".into()))
        );
    }

    #[test]
    fn another_form_is_not_this_one() {
        let form = Form::new(FormKind::Submit).of_type("jabber:cat");
        assert_eq!(form.check("jabber:bot", &[]), Err(Mismatch::FormType));
        assert_eq!(Form::new(FormKind::Submit).check("jabber:bot", &[]), Err(Mismatch::FormType));
        let form = Form::new(FormKind::Result).of_type("jabber:bot");
        assert_eq!(form.check("jabber:bot", &[]), Err(Mismatch::Kind));
    }
}
