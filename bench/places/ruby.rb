# Definitions of Ruby files by Ruby's own parser: paths on standard input, a line of JSON each on standard output.
require "json"
$VERBOSE = nil

def add(found, name, kind, node)
  found << [name.to_s.delete_suffix("="), kind, node.first_lineno, node.first_lineno, node.last_lineno]
end

def name_of(path)
  path.children.last
end

def walk(node, found)
  return unless node.is_a?(RubyVM::AbstractSyntaxTree::Node)
  case node.type
  when :DEFN then add(found, node.children[0], "function", node)
  when :DEFS then add(found, node.children[1], "function", node)
  when :CLASS, :MODULE then add(found, name_of(node.children[0]), "type", node)
  end
  node.children.each { |child| walk(child, found) }
end

STDIN.each_line(chomp: true) do |path|
  begin
    tree = RubyVM::AbstractSyntaxTree.parse_file(path)
  rescue SyntaxError, ArgumentError, EncodingError
    next
  end
  found = []
  walk(tree, found)
  puts JSON.generate({path: path, definitions: found})
end
