<?php
// Definitions of PHP files by php-ast, which is PHP's own tree: paths on standard input, a line of JSON each.
function walk($node, array &$found): void
{
    if (is_array($node)) {
        foreach ($node as $child) {
            walk($child, $found);
        }
        return;
    }
    if (!$node instanceof ast\Node) {
        return;
    }
    $kinds = [ast\AST_FUNC_DECL => "function", ast\AST_METHOD => "function", ast\AST_CLASS => "type"];
    if (isset($kinds[$node->kind]) && $node->children["name"] !== null) {
        $found[] = [$node->children["name"], $kinds[$node->kind], $node->lineno, $node->lineno, $node->endLineno];
    }
    walk($node->children, $found);
}

while (($path = fgets(STDIN)) !== false) {
    $path = rtrim($path, "\n");
    try {
        $tree = ast\parse_code(file_get_contents($path), 85);
    } catch (Throwable) {
        continue;
    }
    $found = [];
    walk($tree, $found);
    echo json_encode(["path" => $path, "definitions" => $found]), "\n";
}
