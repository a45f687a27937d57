// Definitions of JavaScript and TypeScript by the TypeScript compiler: paths on standard input, a line of JSON each.
const ts = require("typescript");
const fs = require("fs");

const FUNCTIONS = [ts.isFunctionExpression, ts.isArrowFunction, ts.isClassExpression];
const isFunction = (node) => node && FUNCTIONS.some((is) => is(node));

function definitionsOf(path) {
  const text = fs.readFileSync(path, "utf8");
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  if (tree.parseDiagnostics.length) return null;
  const found = [];
  const line = (offset) => tree.getLineAndCharacterOfPosition(offset).line + 1;
  const add = (name, kind, node, at = node) => {
    const text = name && (name.text ?? name.getText(tree));
    if (text) found.push([text.replace(/^#/, ""), kind, line(node.getStart(tree)), line(at.getStart(tree)), line(node.getEnd() - 1)]);
  };
  const visit = (node, inside) => {
    let within = inside;
    if (ts.isFunctionDeclaration(node)) add(node.name, "function", node);
    else if (ts.isMethodDeclaration(node) || ts.isGetAccessor(node) || ts.isSetAccessor(node)) add(node.name, "function", node);
    else if (ts.isConstructorDeclaration(node)) add({ text: "constructor" }, "function", node);
    else if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isEnumDeclaration(node)) add(node.name, "type", node);
    else if (ts.isTypeAliasDeclaration(node)) add(node.name, "type", node);
    else if (ts.isModuleDeclaration(node)) add(node.name, "type", node);
    else if ((ts.isPropertyDeclaration(node) || ts.isPropertyAssignment(node)) && isFunction(node.initializer)) add(node.name, "function", node);
    else if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) && node.initializer) {
      const list = node.parent;
      const whole = ts.isVariableStatement(list.parent) && list.declarations.length === 1 ? list.parent : node;
      const elsewhere = /^(require\(|await )/.test(node.initializer.getText(tree));
      if (isFunction(node.initializer)) add(node.name, "function", whole, node);
      else if (!inside && ts.isVariableStatement(list.parent) && !elsewhere) add(node.name, "constant", whole, node);
    } else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken && isFunction(node.right)) {
      const whole = ts.isExpressionStatement(node.parent) ? node.parent : node;
      if (ts.isPropertyAccessExpression(node.left)) add(node.left.name, "function", whole);
      else if (ts.isIdentifier(node.left)) add(node.left, "function", whole);
    }
    if (ts.isFunctionLike(node) || ts.isClassLike(node)) within = true;
    ts.forEachChild(node, (child) => visit(child, within));
  };
  visit(tree, false);
  return found;
}

for (const path of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const definitions = definitionsOf(path);
  if (definitions) console.log(JSON.stringify({ path, definitions }));
}
