// Uses of names in Go files by go/parser: paths on standard input, a line of JSON each on standard output.
package main

import (
	"bufio"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
)

type use = [3]any

var word = regexp.MustCompile(`\w+`)

// uses tells what each line does with each name; an identifier's use is known from what holds it.
func uses(files *token.FileSet, file *ast.File) []use {
	found, known := []use{}, map[ast.Node]string{}
	words := func(pos token.Pos, text, kind string) {
		first := files.Position(pos).Line
		for number, line := range strings.Split(text, "\n") {
			for _, name := range word.FindAllString(line, -1) {
				found = append(found, use{first + number, name, kind})
			}
		}
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			words(comment.Pos(), comment.Text, "comment")
		}
	}
	mark := func(node ast.Node, kind string) { // the name that an expression ends with
		for {
			switch at := node.(type) {
			case *ast.StarExpr:
				node = at.X
			case *ast.IndexExpr:
				node = at.X
			case *ast.IndexListExpr:
				node = at.X
			case *ast.ParenExpr:
				node = at.X
			case *ast.SelectorExpr:
				node = at.Sel
			case *ast.Ident:
				if known[at] == "" {
					known[at] = kind
				}
				return
			default:
				return
			}
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch at := node.(type) {
		case *ast.CallExpr:
			mark(at.Fun, "call")
		case *ast.CompositeLit:
			mark(at.Type, "call")
		case *ast.ImportSpec:
			words(at.Pos(), at.Path.Value, "import")
			if at.Name != nil {
				words(at.Pos(), at.Name.Name, "import")
			}
			return false
		case *ast.FuncDecl:
			mark(at.Name, "definition")
		case *ast.TypeSpec:
			mark(at.Name, "definition")
			mark(at.Type, "type")
		case *ast.StructType:
			for _, field := range at.Fields.List {
				if field.Names == nil {
					mark(field.Type, "inheritance")
				}
			}
		case *ast.InterfaceType:
			for _, field := range at.Methods.List {
				if field.Names == nil {
					mark(field.Type, "inheritance")
				} else {
					mark(field.Names[0], "definition")
				}
			}
		case *ast.Field:
			mark(at.Type, "type")
		case *ast.ValueSpec:
			mark(at.Type, "type")
		case *ast.ArrayType:
			mark(at.Elt, "type")
		case *ast.MapType:
			mark(at.Key, "type")
			mark(at.Value, "type")
		case *ast.ChanType:
			mark(at.Value, "type")
		case *ast.Ellipsis:
			mark(at.Elt, "type")
		case *ast.TypeAssertExpr:
			mark(at.Type, "type")
		case *ast.BasicLit:
			if at.Kind == token.STRING {
				words(at.Pos(), at.Value, "string")
			}
		case *ast.Ident:
			kind := known[at]
			if kind == "" {
				kind = "mention"
			}
			words(at.Pos(), at.Name, kind)
		}
		return true
	})
	return found
}

func main() {
	paths, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for paths.Scan() {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, paths.Text(), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err == nil {
			_ = out.Encode(map[string]any{"path": paths.Text(), "uses": uses(files, file)})
		}
	}
}
