//! The contract, as a document.

use axum::http::header;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(crate) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::Route;

    /// What the document says of the intake, which has a crate of its own.
    const INTAKE: [(&str, &str); 9] = [
        ("/v1/feedback", "post"),
        ("/v1/feedback/{id}", "put"),
        ("/v1/tokens", "post"),
        ("/v1/tokens/{id}", "get"),
        ("/v1/tokens/{id}", "post"),
        ("/v1/metrics/{metric}", "put"),
        ("/v1/metrics/{metric}", "delete"),
        ("/portkey/v1/feedback", "post"),
        ("/portkey/v1/feedback/{id}", "put"),
    ];

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let methods = |item: &Value| -> Vec<String> {
            let keys = item.as_object().unwrap().keys();
            keys.filter(|key| ["get", "post", "put", "delete", "patch"].contains(&key.as_str()))
                .cloned()
                .collect()
        };
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                methods(item)
                    .into_iter()
                    .map(move |method| (path.clone(), method))
            })
            .collect();
        let served = Route::ALL.map(|route| (route.path(), route.method()));
        let served: BTreeSet<(String, String)> = served
            .into_iter()
            .chain(INTAKE)
            .map(|(path, method)| (path.to_owned(), method.to_owned()))
            .collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        found.push(reference);
                    }
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }

        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference
                .strip_prefix('#')
                .expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_path_parameter_is_described() {
        for (path, item) in document()["paths"].as_object().unwrap() {
            for name in path
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
            {
                let described = item["parameters"].as_array().is_some_and(|parameters| {
                    parameters.iter().any(|parameter| {
                        parameter["name"] == name
                            && parameter["in"] == "path"
                            && parameter["required"] == true
                    })
                });
                assert!(described, "{name} of {path}");
            }
        }
    }
}
