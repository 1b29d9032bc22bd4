package main

import (
	"go/ast"
	"go/parser"
	"go/token"
)

// Declarations are what the cells so far have declared.
type declarations struct {
	imports map[string]string // as in cell
	chunks  []*chunk
}

// with gives what there is after one more cell. What it declares again is no longer what it was.
func (d declarations) with(c *cell) declarations {
	next := declarations{imports: map[string]string{}}
	for name, path := range d.imports {
		next.imports[name] = path
	}
	for name, path := range c.imports {
		next.imports[name] = path
	}
	again := map[string]bool{}
	for _, piece := range c.declared {
		for name := range piece.names {
			again[name] = true
		}
	}
	for _, piece := range d.chunks {
		if left := piece.without(again); left != nil {
			next.chunks = append(next.chunks, left)
		}
	}
	for _, piece := range c.declared {
		// What is only done, not named, is not done again; nor is a main function.
		if piece.names["main"] || (len(piece.names) == 1 && piece.names["_"]) {
			continue
		}
		next.chunks = append(next.chunks, piece)
	}
	return next
}

// without gives a declaration in which those names are blank, nil for one that has no others.
func (c *chunk) without(names map[string]bool) *chunk {
	left, gone := 0, 0
	for name := range c.names {
		switch {
		case names[name]:
			gone++
		case name != "_":
			left++
		}
	}
	if gone == 0 {
		return c
	}
	if left == 0 {
		return nil
	}
	const head = "package main;"
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", head+c.text, parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	text := []byte(c.text)
	next := *c
	next.names = map[string]bool{}
	for name := range c.names {
		if !names[name] {
			next.names[name] = true
		}
	}
	blank := func(name *ast.Ident) {
		if !names[name.Name] {
			return
		}
		at := files.Position(name.Pos()).Offset - len(head)
		for i := range name.Name {
			text[at+i] = ' '
		}
		text[at] = '_'
	}
	for _, spec := range file.Decls[0].(*ast.GenDecl).Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			blank(s.Name)
		case *ast.ValueSpec:
			for _, name := range s.Names {
				blank(name)
			}
		}
	}
	next.text = string(text)
	return &next
}

// needed gives, in their order, the declarations that what is named in `words` comes down to, and
// those of the cell in any case.
func (d declarations) needed(c *cell) []*chunk {
	take := map[*chunk]bool{}
	words := map[string]bool{}
	learn := func(piece *chunk) {
		for word := range piece.words {
			words[word] = true
		}
	}
	for _, piece := range c.statements {
		learn(piece)
	}
	all := d.chunks
	known := map[*chunk]bool{}
	for _, piece := range all {
		known[piece] = true
	}
	for _, piece := range c.declared {
		take[piece] = true
		learn(piece)
		if !known[piece] {
			all = append(all[:len(all):len(all)], piece)
		}
	}
	for changed := true; changed; {
		changed = false
		for _, piece := range all {
			if take[piece] || !piece.wanted(words) {
				continue
			}
			take[piece] = true
			learn(piece)
			changed = true
		}
	}
	var needed []*chunk
	for _, piece := range all {
		if take[piece] {
			needed = append(needed, piece)
		}
	}
	return needed
}

func (c *chunk) wanted(words map[string]bool) bool {
	if c.receiver != "" {
		return words[c.receiver]
	}
	for name := range c.names {
		if words[name] || name == "init" {
			return true
		}
	}
	return false
}
