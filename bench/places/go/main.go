// Definitions of Go files by go/parser: paths on standard input, a line of JSON each on standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
)

type file struct {
	Path        string  `json:"path"`
	Definitions [][]any `json:"definitions"`
}

func main() {
	paths := bufio.NewScanner(os.Stdin)
	for paths.Scan() {
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, paths.Text(), nil, parser.SkipObjectResolution)
		if err != nil {
			continue // not Go, or of another version
		}
		found := file{paths.Text(), [][]any{}}
		add := func(name string, kind string, node ast.Node) {
			// The place in this file, whatever a //line comment says.
			first, last := set.PositionFor(node.Pos(), false).Line, set.PositionFor(node.End()-1, false).Line
			found.Definitions = append(found.Definitions, []any{name, kind, first, first, last})
		}
		declared := func(decl *ast.GenDecl, top bool) {
			for _, spec := range decl.Specs {
				var node ast.Node = spec
				if len(decl.Specs) == 1 {
					node = decl
				}
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name.Name, "type", node)
				case *ast.ValueSpec:
					if top {
						add(spec.Names[0].Name, "constant", node)
					}
				}
			}
		}
		for _, decl := range tree.Decls {
			if decl, ok := decl.(*ast.GenDecl); ok {
				declared(decl, true)
			}
		}
		ast.Inspect(tree, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncDecl:
				add(node.Name.Name, "function", node)
			case *ast.DeclStmt:
				declared(node.Decl.(*ast.GenDecl), false)
			}
			return true
		})
		line, _ := json.Marshal(found)
		fmt.Println(string(line))
	}
}
