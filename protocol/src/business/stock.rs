//! What a product says of its stock (ORD-05): that nothing is left, when the last of it goes, and that there is some again.

use crate::data::Value;

/// Whether any of a product is left, by itself or in one of its variants; `None` where nothing is counted.
fn left(product: &Value, settings: &Value) -> Option<bool> {
    let stock = |name: &str| product.get("inventory").and_then(|stock| stock.get(name)) == Some(&Value::Bool(true));
    if !stock("trackQuantity") || stock("allowBackorder") {
        return None;
    }
    let inventory = settings.get("inventory")?;
    let variants = match inventory.get("variants") {
        Some(Value::List(variants)) => variants.as_slice(),
        _ => &[],
    };
    let counted = [inventory].into_iter().chain(variants).filter_map(|of| of.get("quantity")?.as_integer());
    counted.map(|quantity| quantity > 0).reduce(|one, other| one || other)
}

/// The status that a product gets when its private half becomes `after`, `before` being what that was if it is known; `None`
/// where it stays as it is. One that staff have taken off the shelf for other reasons, while some was left, they put back.
#[must_use]
pub fn status(product: &Value, before: Option<&Value>, after: &Value) -> Option<&'static str> {
    let was_left = before.and_then(|before| left(product, before));
    match (product.get("status").and_then(Value::as_str), left(product, after)?) {
        (Some("active"), false) => Some("out_of_stock"),
        (Some("out_of_stock"), true) if was_left != Some(true) => Some("active"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data::from_json;

    fn value(json: &serde_json::Value) -> Value {
        from_json(json).expect("of the data model")
    }

    fn after(status_now: &str, before: Option<i64>, now: i64) -> Option<&'static str> {
        let product = value(&json!({ "status": status_now, "inventory": { "trackQuantity": true } }));
        let settings = |quantity: i64| value(&json!({ "inventory": { "quantity": quantity } }));
        status(&product, before.map(settings).as_ref(), &settings(now))
    }

    #[test]
    fn the_last_one_takes_a_product_off_and_the_first_puts_it_back() {
        assert_eq!(after("active", Some(1), 0), Some("out_of_stock"));
        assert_eq!(after("active", Some(2), 1), None);
        assert_eq!(after("out_of_stock", Some(0), 1), Some("active"));
        assert_eq!(after("out_of_stock", Some(-3), -1), None);
        assert_eq!(after("out_of_stock", None, 5), Some("active"), "whoever counted them anew means it");
        assert_eq!(after("out_of_stock", Some(4), 5), None, "taken off by hand while some was left");
        for other in ["draft", "archived"] {
            assert_eq!((after(other, Some(1), 0), after(other, Some(0), 1)), (None, None), "{other}");
        }
    }

    #[test]
    fn what_is_not_counted_or_may_be_owed_stays_as_it_is() {
        let none = value(&json!({ "inventory": { "quantity": 0 } }));
        for inventory in [json!({}), json!({ "trackQuantity": true, "allowBackorder": true })] {
            let product = value(&json!({ "status": "active", "inventory": inventory }));
            assert_eq!(status(&product, None, &none), None, "{inventory}");
        }
        let product = value(&json!({ "status": "active", "inventory": { "trackQuantity": true } }));
        assert_eq!(status(&product, None, &value(&json!({ "inventory": { "lowStockThreshold": 3 } }))), None);
    }

    #[test]
    fn a_product_is_there_as_long_as_one_of_its_variants_is() {
        let product = value(&json!({ "status": "active", "inventory": { "trackQuantity": true } }));
        let of = |one: i64, other: i64| {
            let variants = json!([{ "sku": "a", "quantity": one }, { "sku": "b", "quantity": other }]);
            status(&product, None, &value(&json!({ "inventory": { "variants": variants } })))
        };
        assert_eq!((of(0, 1), of(0, 0)), (None, Some("out_of_stock")));
    }
}
