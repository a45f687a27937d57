// Uses of names in TypeScript files by its compiler: paths on standard input, a line of JSON each on standard output.
const fs = require('fs')
const ts = require('typescript')

const WORD = /[\p{L}\p{N}_$]+/gu

function uses(path, text) {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  if (file.parseDiagnostics.length) return null
  const found = []
  const words = (start, end, use) => {
    for (const match of text.slice(start, end).matchAll(WORD)) {
      found.push([file.getLineAndCharacterOfPosition(start + match.index).line + 1, match[0], use])
    }
  }
  const comments = new Set()
  const visit = (node, context) => {
    for (const range of ts.getLeadingCommentRanges(text, node.pos) ?? []) comments.add(`${range.pos} ${range.end}`)
    for (const range of ts.getTrailingCommentRanges(text, node.end) ?? []) comments.add(`${range.pos} ${range.end}`)
    if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) words(node.getStart(), node.end, use(node, context))
    else if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node))
      words(node.getStart(), node.end, context === 'import' ? 'import' : 'string')
    let inner = context
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) inner = 'import'
    else if (ts.isHeritageClause(node)) inner = 'inheritance'
    else if (ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node)) inner = 'type'
    else if (ts.isBlock(node) || ts.isClassElement(node)) inner = null
    ts.forEachChild(node, child => visit(child, inner))
  }
  visit(file, null)
  for (const range of comments) words(...range.split(' ').map(Number), 'comment')
  return found
}

function use(node, context) {
  const parent = node.parent
  const target = ts.isPropertyAccessExpression(parent) && parent.name === node ? parent : node
  const holder = target.parent
  if ((ts.isCallExpression(holder) || ts.isNewExpression(holder)) && holder.expression === target) return 'call'
  if (ts.isTaggedTemplateExpression(holder) && holder.tag === target) return 'call'
  if (ts.isDecorator(holder)) return 'call'
  const defines =
    ts.isFunctionLike(parent) || ts.isClassLike(parent) || ts.isInterfaceDeclaration(parent) ||
    ts.isTypeAliasDeclaration(parent) || ts.isEnumDeclaration(parent) || ts.isModuleDeclaration(parent)
  if (defines && parent.name === node) return 'definition'
  return context ?? 'mention'
}

for (const path of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const found = uses(path, fs.readFileSync(path, 'utf8'))
  if (found) console.log(JSON.stringify({ path, uses: found }))
}
