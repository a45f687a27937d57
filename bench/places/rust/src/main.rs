//! Definitions of Rust files by syn: paths on standard input, a line of JSON each on standard output.
use serde_json::{json, Value};
use std::io::BufRead;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

struct Found(Vec<Value>);

impl Found {
    fn add(&mut self, name: String, kind: &str, attributes: &[syn::Attribute], node: &dyn Spanned, head: proc_macro2::Span) {
        let last = node.span().end().line;
        // Doc comments are attributes to syn; they are comments to a reader.
        let first = attributes
            .iter()
            .filter(|a| !a.path().is_ident("doc"))
            .map(|a| a.span().start().line)
            .chain([head.start().line])
            .min()
            .unwrap();
        self.0.push(json!([name, kind, first, head.start().line, last]));
    }
}

fn start_of(visibility: &syn::Visibility, other: proc_macro2::Span) -> proc_macro2::Span {
    match visibility {
        syn::Visibility::Inherited => other,
        written => written.span(),
    }
}

fn start_of_function(visibility: Option<&syn::Visibility>, s: &syn::Signature) -> proc_macro2::Span {
    let span = s.constness.map(|t| t.span()).or(s.asyncness.map(|t| t.span())).or(s.unsafety.map(|t| t.span()))
        .or(s.abi.as_ref().map(|a| a.extern_token.span())).unwrap_or(s.fn_token.span());
    visibility.map_or(span, |v| start_of(v, span))
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, n: &'ast syn::ItemFn) {
        self.add(n.sig.ident.to_string(), "function", &n.attrs, n, start_of_function(Some(&n.vis), &n.sig));
        visit::visit_item_fn(self, n);
    }
    fn visit_impl_item_fn(&mut self, n: &'ast syn::ImplItemFn) {
        self.add(n.sig.ident.to_string(), "function", &n.attrs, n, start_of_function(Some(&n.vis), &n.sig));
        visit::visit_impl_item_fn(self, n);
    }
    fn visit_trait_item_fn(&mut self, n: &'ast syn::TraitItemFn) {
        self.add(n.sig.ident.to_string(), "function", &n.attrs, n, start_of_function(None, &n.sig));
        visit::visit_trait_item_fn(self, n);
    }
    fn visit_item_struct(&mut self, n: &'ast syn::ItemStruct) {
        self.add(n.ident.to_string(), "type", &n.attrs, n, start_of(&n.vis, n.struct_token.span()));
        visit::visit_item_struct(self, n);
    }
    fn visit_item_enum(&mut self, n: &'ast syn::ItemEnum) {
        self.add(n.ident.to_string(), "type", &n.attrs, n, start_of(&n.vis, n.enum_token.span()));
        visit::visit_item_enum(self, n);
    }
    fn visit_item_trait(&mut self, n: &'ast syn::ItemTrait) {
        self.add(n.ident.to_string(), "type", &n.attrs, n, start_of(&n.vis, n.unsafety.map_or(n.trait_token.span(), |t| t.span())));
        visit::visit_item_trait(self, n);
    }
    fn visit_item_impl(&mut self, n: &'ast syn::ItemImpl) {
        self.add("impl".into(), "type", &n.attrs, n, n.unsafety.map_or(n.impl_token.span(), |t| t.span()));
        visit::visit_item_impl(self, n);
    }
    fn visit_item_mod(&mut self, n: &'ast syn::ItemMod) {
        self.add(n.ident.to_string(), "type", &n.attrs, n, start_of(&n.vis, n.mod_token.span()));
        visit::visit_item_mod(self, n);
    }
    fn visit_item_type(&mut self, n: &'ast syn::ItemType) {
        self.add(n.ident.to_string(), "type", &n.attrs, n, start_of(&n.vis, n.type_token.span()));
    }
    fn visit_item_macro(&mut self, n: &'ast syn::ItemMacro) {
        if let Some(name) = &n.ident {
            self.add(name.to_string(), "function", &n.attrs, n, n.mac.span());
        }
    }
}

fn main() {
    for path in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Ok(tree) = syn::parse_file(&text) else { continue };
        let mut found = Found(vec![]);
        found.visit_file(&tree);
        println!("{}", json!({"path": path, "definitions": found.0}));
    }
}
