package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"strconv"
	"strings"
)

// A chunk is a top-level piece of a cell: one declaration or one statement.
type chunk struct {
	text         string
	cell         int
	line, column int             // of its start in the cell
	names        map[string]bool // what it declares, methods as "Type.Name"
	receiver     string          // of a method
	words        map[string]bool // every identifier in it
}

// source is the chunk with a note of where it comes from, as the compiler understands it.
func (c *chunk) source() string {
	return fmt.Sprintf("//line cell-%d:%d:%d\n%s\n", c.cell, c.line, c.column, c.text)
}

// A cell in its parts.
type cell struct {
	imports    map[string]string // name in the source, path; the name "" stands for the package's own
	declared   []*chunk
	statements []*chunk
	hasMain    bool
}

type lexeme struct {
	offset  int
	token   token.Token
	literal string
}

func lex(code string) []lexeme {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(code))
	var s scanner.Scanner
	s.Init(file, []byte(code), func(token.Position, string) {}, 0) // the parser says what is wrong
	var all []lexeme
	for {
		position, t, literal := s.Scan()
		if t == token.EOF {
			return all
		}
		all = append(all, lexeme{file.Offset(position), t, literal})
	}
}

// splitCell takes a cell apart where a semicolon, written or not, ends what is not inside of
// brackets.
func splitCell(code string, number int) *cell {
	c := &cell{imports: map[string]string{}}
	var tokens []lexeme
	depth := 0
	for _, t := range append(lex(code), lexeme{len(code), token.SEMICOLON, "\n"}) {
		switch t.token {
		case token.LPAREN, token.LBRACE, token.LBRACK:
			depth++
		case token.RPAREN, token.RBRACE, token.RBRACK:
			depth--
		}
		last := t.offset == len(code)
		if t.token != token.SEMICOLON || (depth > 0 && !last) {
			tokens = append(tokens, t)
			continue
		}
		if len(tokens) > 0 {
			c.add(newChunk(code, tokens, t.offset, number), tokens)
		}
		tokens = nil
	}
	return c
}

func newChunk(code string, tokens []lexeme, end, number int) *chunk {
	start := tokens[0].offset
	before := code[:start]
	made := &chunk{
		text:   strings.TrimRight(code[start:end], " \t\r\n"),
		cell:   number,
		line:   strings.Count(before, "\n") + 1,
		column: start - (strings.LastIndex(before, "\n") + 1) + 1,
		names:  map[string]bool{},
		words:  map[string]bool{},
	}
	for _, t := range tokens {
		if t.token == token.IDENT {
			made.words[t.literal] = true
		}
	}
	return made
}

func (c *cell) add(piece *chunk, tokens []lexeme) {
	switch tokens[0].token {
	case token.PACKAGE:
		return
	case token.IMPORT, token.CONST, token.TYPE, token.VAR:
	case token.FUNC:
		if !declaresFunction(tokens) {
			c.statements = append(c.statements, piece)
			return
		}
	default:
		c.statements = append(c.statements, piece)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package main;"+piece.text, parser.SkipObjectResolution)
	if err != nil || len(file.Decls) != 1 {
		c.declared = append(c.declared, piece) // to be complained about
		return
	}
	switch d := file.Decls[0].(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil && len(d.Recv.List) == 1 {
			piece.receiver = typeName(d.Recv.List[0].Type)
			name = piece.receiver + "." + name
		}
		if name == "main" {
			c.hasMain = true
		}
		piece.names[name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ImportSpec:
				c.addImport(s)
			case *ast.TypeSpec:
				piece.names[s.Name.Name] = true
			case *ast.ValueSpec:
				for _, name := range s.Names {
					piece.names[name.Name] = true
				}
			}
		}
		if d.Tok == token.IMPORT {
			return
		}
	}
	c.declared = append(c.declared, piece)
}

func (c *cell) addImport(spec *ast.ImportSpec) {
	path, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return
	}
	name := packageName(path)
	if spec.Name != nil {
		name = spec.Name.Name
		if name == "_" || name == "." {
			name += path // as often as there are
		}
	}
	c.imports[name] = path
}

// packageName is what a package of the standard library is called in a source.
func packageName(path string) string {
	name := path[strings.LastIndex(path, "/")+1:]
	if len(name) > 1 && name[0] == 'v' && name[1] >= '0' && name[1] <= '9' { // math/rand/v2
		return packageName(path[:strings.LastIndex(path, "/")])
	}
	return name
}

// declaresFunction tells a function or method from a function literal that is called.
func declaresFunction(tokens []lexeme) bool {
	if len(tokens) < 3 || tokens[1].token == token.IDENT {
		return true
	}
	depth := 0
	for i, t := range tokens[1:] {
		switch t.token {
		case token.LPAREN:
			depth++
		case token.RPAREN:
			depth--
		}
		if depth == 0 {
			after := tokens[1+i+1:]
			return len(after) > 1 && after[0].token == token.IDENT && after[1].token == token.LPAREN
		}
	}
	return true
}

func typeName(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	case *ast.ParenExpr:
		return typeName(e.X)
	}
	return ""
}
