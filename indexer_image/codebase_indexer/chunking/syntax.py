"""What to look for in each grammar's trees: which nodes define a name, and where the name stands. Data alone.

Each line of a table is a kind of symbol (`codebase_index.symbols.Kind`), then kinds of nodes. A node's name is its
field `name`, else what its declarator declares, else its first identifier. Where that is not so, `node=path` tells
the way: steps divided by `/`, each a field or the kind of a child, with `field:kind` for a field that must hold
that kind. `node=@rule` leaves name and kind to a function of `names.py`.
"""

from collections.abc import Mapping

DEFINITIONS: Mapping[str, str] = {
    "python": """
        function function_definition
        class class_definition
        constant assignment=left:identifier type_alias_statement=left
    """,
    "javascript": """
        function function_declaration generator_function_declaration variable_declarator=@javascript
        function assignment_expression=@assigned
        class class_declaration
        method method_definition field_definition=@member pair=@member
    """,
    "typescript": """
        function function_declaration generator_function_declaration function_signature
        function variable_declarator=@javascript assignment_expression=@assigned
        class class_declaration abstract_class_declaration
        interface interface_declaration
        type type_alias_declaration
        enum enum_declaration
        method method_definition abstract_method_signature public_field_definition=@member pair=@member
        module internal_module module
    """,
    "go": """
        function function_declaration
        method method_declaration=@go
        type type_spec=@go type_alias
        constant const_spec var_spec
    """,
    "rust": """
        function function_item function_signature_item
        struct struct_item union_item
        enum enum_item
        interface trait_item
        class impl_item=type
        module mod_item
        type type_item
        constant const_item static_item
        macro macro_definition
    """,
    "java": """
        class class_declaration record_declaration
        interface interface_declaration annotation_type_declaration
        enum enum_declaration
        method method_declaration constructor_declaration compact_constructor_declaration
    """,
    "c": """
        function function_definition
        struct struct_specifier union_specifier
        enum enum_specifier
        type type_definition
        macro preproc_function_def
        constant preproc_def
    """,
    "cpp": """
        function function_definition
        class class_specifier
        struct struct_specifier union_specifier
        enum enum_specifier
        type type_definition alias_declaration
        interface concept_definition
        module namespace_definition
        macro preproc_function_def
        constant preproc_def
    """,
    "ruby": """
        method method singleton_method
        class class
        module module
        constant assignment=left:constant
    """,
    "php": """
        function function_definition
        class class_declaration
        interface interface_declaration trait_declaration
        enum enum_declaration
        method method_declaration
        module namespace_definition
        constant const_declaration=const_element/name
    """,
    "csharp": """
        class class_declaration record_declaration
        struct struct_declaration
        interface interface_declaration
        enum enum_declaration
        method method_declaration constructor_declaration
        function local_function_statement
        method destructor_declaration operator_declaration=@operator conversion_operator_declaration=@operator
        method indexer_declaration=@operator
        property property_declaration event_declaration
        type delegate_declaration
        module namespace_declaration
    """,
    "bash": """
        function function_definition
    """,
    "kotlin": """
        class class_declaration=@kotlin object_declaration
        function function_declaration
        type type_alias
        constant property_declaration=variable_declaration/simple_identifier
    """,
    "swift": """
        class class_declaration=@swift
        interface protocol_declaration
        function function_declaration protocol_function_declaration
        method init_declaration=@init
        type typealias_declaration
        constant property_declaration=name
    """,
    "scala": """
        class class_definition object_definition
        interface trait_definition
        enum enum_definition
        function function_definition function_declaration
        type type_definition
        constant val_definition=pattern:identifier
    """,
    "lua": """
        function function_declaration assignment_statement=@lua
    """,
    "luau": """
        function function_declaration assignment_statement=@lua
    """,
    "elixir": """
        function call=@elixir
    """,
    "haskell": """
        function function bind signature
        type data_type newtype type_synomym type_family
        interface class
        class instance
    """,
    "zig": """
        function Decl=@zig
        test TestDecl=STRINGLITERALSINGLE
    """,
    "sql": """
        table create_table=object_reference/name create_view=object_reference/name
        table create_materialized_view=object_reference/name
        function create_function=object_reference/name create_procedure=object_reference/name
        function create_trigger=object_reference/name
        type create_type=object_reference/name
        key create_index=column
    """,
    "dockerfile": """
        stage from_instruction=@dockerfile
    """,
    "yaml": """
        key block_mapping_pair=key
        resource document=@kubernetes
    """,
    "toml": """
        table table=@toml table_array_element=@toml
        key pair=@toml
    """,
    "json": """
        key pair=key/string_content
    """,
    "html": "",
    "vue": "",
    "svelte": "",
    "css": """
        rule rule_set=selectors keyframes_statement=keyframes_name
    """,
    "scss": """
        rule rule_set=selectors keyframes_statement=keyframes_name
        function mixin_statement function_statement
    """,
    "proto": """
        message message=message_name
        enum enum=enum_name
        service service=service_name
        method rpc=rpc_name
    """,
    "hcl": """
        resource block=@terraform
    """,
    "dart": """
        class class_definition extension_declaration mixin_declaration
        enum enum_declaration
        function function_signature getter_signature setter_signature
        method constructor_signature factory_constructor_signature
        type type_alias
        constant static_final_declaration
    """,
    "r": """
        function binary_operator=@r
    """,
    "julia": """
        module module_definition
        function function_definition=signature/call_expression/identifier assignment=@julia
        struct struct_definition=type_head/identifier
        type abstract_definition=type_head/identifier
        macro macro_definition=signature/call_expression/identifier
        constant const_statement=assignment/identifier
    """,
    "perl": """
        function subroutine_declaration_statement
        module package_statement
    """,
    "ocaml": """
        module module_definition=module_binding/module_name
        interface module_type_definition=module_type_name
        function value_definition=let_binding/pattern:value_name
        type type_definition=type_binding/name exception_definition=constructor_declaration/constructor_name
        class class_definition=class_binding/class_name
        method method_definition=method_name
    """,
    "ocaml_interface": """
        module module_definition=module_binding/module_name
        interface module_type_definition=module_type_name
        function value_specification=value_name
        type type_definition=type_binding/name exception_definition=constructor_declaration/constructor_name
        class class_type_definition=class_type_binding/class_type_name
    """,
    "erlang": """
        function fun_decl=clause/name
        struct record_decl
        macro pp_define=lhs/name
        type type_alias=name/name opaque=name/name
    """,
    "clojure": """
        function list_lit=@lisp
    """,
    "commonlisp": """
        function list_lit=@lisp
    """,
    "scheme": """
        function list=@lisp
    """,
    "racket": """
        function list=@lisp
    """,
    "elisp": """
        function function_definition
        macro macro_definition
    """,
    "make": """
        rule rule=targets
        macro define_directive
        constant variable_assignment
    """,
    "cmake": """
        function function_def=function_command/argument_list/argument
        macro macro_def=macro_command/argument_list/argument
    """,
    "graphql": """
        class object_type_definition input_object_type_definition object_type_extension
        interface interface_type_definition
        enum enum_type_definition
        type union_type_definition scalar_type_definition
        function operation_definition fragment_definition=fragment_name directive_definition
    """,
    "objc": """
        class class_interface class_implementation category_interface category_implementation
        interface protocol_declaration
        method method_declaration method_definition
        property property_declaration=struct_declaration/struct_declarator
        function function_definition
        struct struct_specifier union_specifier
        enum enum_specifier
        type type_definition
        macro preproc_function_def
        constant preproc_def
    """,
    "powershell": """
        function function_statement=function_name
        class class_statement=simple_name
        enum enum_statement=simple_name
        method class_method_definition=simple_name
    """,
    "nix": """
        key binding=attrpath
    """,
    "vim": """
        function function_definition=function_declaration/name
    """,
    "fish": """
        function function_definition
    """,
    "fsharp": """
        module named_module module_defn=identifier
        function function_or_value_defn=function_declaration_left/identifier
    """,
    "elm": """
        function value_declaration=functionDeclarationLeft/lower_case_identifier
        type type_declaration type_alias_declaration
    """,
    "solidity": """
        class contract_declaration library_declaration
        interface interface_declaration
        function function_definition
        macro modifier_definition
        struct struct_declaration
        enum enum_declaration
    """,
    "fortran": """
        module module=module_statement/name program=program_statement/name
        function subroutine=subroutine_statement/name function=function_statement/name
    """,
    "gdscript": """
        function function_definition
        class class_definition
        enum enum_definition
    """,
    "gleam": """
        function function
        type type_definition=type_name/name
        constant constant
    """,
    "thrift": """
        struct struct_definition exception_definition
        service service_definition
        method function_definition
        enum enum_definition
    """,
    "prisma": """
        table model_block
        enum enum_block
    """,
    "glsl": """
        function function_definition
        struct struct_specifier
    """,
    "wgsl": """
        function function_declaration
        struct struct_declaration
    """,
    "tcl": """
        function procedure
    """,
    "matlab": """
        function function_definition
        class class_definition
    """,
    "bicep": """
        resource resource_declaration module_declaration
        constant parameter_declaration variable_declaration
    """,
}

SAME_AS: Mapping[str, str] = {"tsx": "typescript"}
"""Grammars whose trees are like those of another."""

WRAPPERS = (
    "decorated_definition export_statement template_declaration type_declaration lexical_declaration "
    "variable_declaration ambient_declaration expression_statement declaration field_declaration "
    "linkage_specification declaration_list const_declaration var_declaration var_spec_list statement "
    "declarations body document definition type_system_definition type_system_extension type_extension "
    "type_definition block_node block_mapping object preproc_ifdef preproc_if preproc_else method_signature "
    "static_final_declaration_list implementation_definition statement_list executable_definition binding_set "
    "assignment_expression pair declaration_expression attrset_expression structure signature object_expression "
    "internal_procedures VarDecl ErrorUnionExpr SuffixExpr ContainerDecl"
)
"""Kinds of nodes around definitions: decorators, `export`, `template<...>`, `const f =`, sections of a file.

One with a single definition inside begins and ends with it.
"""

SECTIONS = (
    "linkage_specification declaration_list declarations body document definition type_system_definition "
    "type_system_extension type_extension block_node block_mapping object preproc_ifdef preproc_if preproc_else "
    "statement_list executable_definition structure object_expression internal_procedures"
)
"""Wrappers that are a place around definitions, no part of what they hold."""

TOP_ONLY = "expression_statement const_declaration var_declaration static_final_declaration_list pair"
"""Kinds of nodes that are looked at at the top level only: inside of a function they are statements and values."""

SCOPES = "impl_item"
"""Kinds of nodes, beside modules, that are only a place for others: a chunk that opens one is named after them."""

BODILESS = "class_specifier struct_specifier union_specifier enum_specifier namespace_definition"
"""Kinds of nodes that may only mention a name: ``struct stat s``; PHP's ``namespace App;`` holds nothing."""

STICKY = (
    "comment line_comment block_comment doc_comment attribute_item inner_attribute_item attribute_list decorator "
    "annotation haddock pod multiline_comment"
)
"""Kinds of nodes that belong to what follows them."""

DECORATORS = "attribute_item attribute_list decorator annotation"
"""Those of them that are part of the definition that follows, as they are where a grammar puts them into it."""

CONTINUED = "function_body"
"""Kinds of nodes beside a definition that are its body, where the grammar does not put it inside (Dart)."""

HIDDEN_BODIES = frozenset(["dart"])
"""Grammars in which CONTINUED counts; elsewhere such nodes lie inside the definition."""

IDENTIFIERS = frozenset(
    ["identifier", "simple_identifier", "type_identifier", "field_identifier", "property_identifier", "constant",
     "name", "word", "atom", "bareword", "package", "user_type", "variable", "value_name", "module_name",
     "dotted_name", "string_content", "symbol", "long_identifier"]
)  # fmt: skip
"""Kinds of nodes that are a definition's name where the grammar has no field for it."""

EMBEDDED: Mapping[str, str] = {"html": "javascript", "vue": "typescript", "svelte": "typescript"}
"""Grammars whose `script` elements hold another language."""
