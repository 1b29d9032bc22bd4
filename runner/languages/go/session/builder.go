package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

// A builder makes programs of cells, against archives of the standard library that were made once.
type builder struct {
	archives map[string]string // by import path
	byName   map[string]string // import paths by what the package is called
	stdFile  string            // the importcfg
	tools    string
	scratch  string
}

// Of packages of one name, which one is meant where nothing is imported.
var preferred = map[string]string{"rand": "math/rand", "template": "text/template", "scanner": "text/scanner", "pprof": "runtime/pprof"}

func (b *builder) open(std, tools string) error {
	b.archives, b.byName = map[string]string{}, map[string]string{}
	b.stdFile, b.tools = filepath.Join(std, "importcfg"), tools
	text, err := os.ReadFile(b.stdFile)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(text), "\n") {
		path, file, found := strings.Cut(strings.TrimPrefix(line, "packagefile "), "=")
		if !found {
			continue
		}
		b.archives[path] = file
		if strings.HasPrefix(path, "vendor/") || strings.Contains("/"+path+"/", "/internal/") {
			continue
		}
		name := packageName(path)
		if known, ok := b.byName[name]; !ok || len(path) < len(known) {
			b.byName[name] = path
		}
	}
	for name, path := range preferred {
		b.byName[name] = path
	}
	b.scratch, err = os.MkdirTemp("", "cells")
	return err
}

func (b *builder) close() { os.RemoveAll(b.scratch) }

// build gives the path of the cell's program.
func (b *builder) build(s *session, c *cell, kept declarations) (string, *failure) {
	var declared strings.Builder
	for _, piece := range kept.needed(c) {
		declared.WriteString(piece.source())
	}
	show := b.lastExpression(c)
	source, failed := b.source(c, kept, declared.String(), show)
	if failed != nil {
		return "", failed
	}
	if call, ok := show.(*ast.CallExpr); ok && !b.hasOneValue(source, call) {
		if source, failed = b.source(c, kept, declared.String(), nil); failed != nil {
			return "", failed
		}
	}
	file := filepath.Join(b.scratch, "main.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		return "", &failure{"InternalError", err.Error(), nil}
	}
	archive, program := filepath.Join(b.scratch, "main.a"), filepath.Join(b.scratch, "main")
	if failed := b.tool(s, "compile", "-o", archive, "-p", "main", "-complete", "-importcfg", b.stdFile, "-pack",
		"-trimpath", b.scratch, "-lang="+language(), "-dwarf=false",
		"-c="+strconv.Itoa(min(runtime.NumCPU(), 4)), file); failed != nil {
		return "", failed
	}
	if len(c.statements) == 0 && !c.hasMain {
		return "", nil
	}
	return program, b.tool(s, "link", "-o", program, "-importcfg", b.stdFile, "-buildmode=exe", "-s", "-w", archive)
}

func language() string {
	parts := strings.SplitN(runtime.Version(), ".", 3)
	return parts[0] + "." + parts[1]
}

// lastExpression gives the last statement where it is an expression, nil for any other.
func (b *builder) lastExpression(c *cell) ast.Expr {
	if len(c.statements) == 0 {
		return nil
	}
	expression, err := parser.ParseExpr(c.statements[len(c.statements)-1].text)
	if err != nil {
		return nil
	}
	if unary, ok := expression.(*ast.UnaryExpr); ok && unary.Op == token.ARROW {
		return nil // done for the waiting
	}
	return expression
}

const (
	showName   = "forkbox_show"
	resultFile = "result"
)

// source is the whole program. With `show` its last statement is shown instead of dropped.
func (b *builder) source(c *cell, kept declarations, declared string, show ast.Expr) (string, *failure) {
	var body strings.Builder
	body.WriteString(declared)
	if len(c.statements) > 0 || !c.hasMain {
		body.WriteString("func main() {\n")
		for i, statement := range c.statements {
			if show != nil && i == len(c.statements)-1 {
				fmt.Fprintf(&body, "%s(\n%s)\n", showName, strings.TrimSuffix(statement.source(), "\n")+",\n")
			} else {
				body.WriteString(statement.source())
			}
		}
		body.WriteString("}\n")
	}
	if show != nil {
		fmt.Fprintf(&body, `//line forkbox:1
func %s(value any) {
	if value == nil { return } // as of a call that gives an error
	forkbox_os.WriteFile(%q, []byte(forkbox_fmt.Sprintf("%%+v", value)), 0o600)
}
`, showName, filepath.Join(b.scratch, resultFile))
	}
	imports, failed := b.imports(c, kept, body.String())
	if failed != nil {
		return "", failed
	}
	if show != nil {
		imports += "import forkbox_fmt \"fmt\"; import forkbox_os \"os\"\n"
	}
	return "package main\n" + imports + body.String(), nil
}

// imports gives those that the program uses: of what the cells imported, else of the standard
// library by name.
func (b *builder) imports(c *cell, kept declarations, body string) (string, *failure) {
	file, err := parser.ParseFile(token.NewFileSet(), "", "package main\n"+body, 0)
	if err != nil {
		return "", syntaxFailure(err)
	}
	qualifiers := map[string]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if name, ok := selector.X.(*ast.Ident); ok {
				qualifiers[name.Name] = true
			}
		}
		return true
	})
	used := map[string]string{}
	for _, name := range file.Unresolved {
		if !qualifiers[name.Name] {
			continue
		}
		if path, ok := kept.imports[name.Name]; ok {
			used[name.Name] = path
		} else if path, ok := b.byName[name.Name]; ok {
			used[name.Name] = path
		}
	}
	lines := []string{}
	for name, path := range used {
		lines = append(lines, fmt.Sprintf("import %s %q\n", name, path))
	}
	for name, path := range kept.imports {
		if strings.HasPrefix(name, "_") && name == "_"+path || strings.HasPrefix(name, ".") {
			lines = append(lines, fmt.Sprintf("import %s %q\n", name[:1], path))
		}
	}
	// An import of this cell that cannot be had is said to be so, used or not.
	for _, path := range c.imports {
		if _, ok := b.archives[path]; !ok && path != "unsafe" {
			message := fmt.Sprintf("package %s is not in the standard library, which is all there is here", path)
			return "", &failure{"CompileError", message, []string{message}}
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, ""), nil
}

func syntaxFailure(err error) *failure {
	var list scanner.ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		return &failure{"CompileError", err.Error(), []string{err.Error()}}
	}
	lines := []string{}
	for _, item := range list {
		lines = append(lines, item.Error())
	}
	return &failure{"CompileError", lines[0], lines}
}

// hasOneValue tells whether what is shown by a program is one value, and not none or many.
func (b *builder) hasOneValue(source string, show *ast.CallExpr) bool {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, 0)
	if err != nil {
		return false
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(b.archives[path]) }
	config := types.Config{Importer: importer.ForCompiler(files, "gc", lookup), Error: func(error) {}}
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config.Check("main", files, []*ast.File{file}, &info)
	one := false
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != showName {
			return true
		}
		shown, known := info.Types[call.Args[0]]
		_, many := shown.Type.(*types.Tuple)
		one = known && shown.IsValue() && !many
		return false
	})
	return one
}

// tool runs the compiler or the linker.
func (b *builder) tool(s *session, name string, args ...string) *failure {
	command := exec.Command(filepath.Join(b.tools, name), args...)
	command.Dir = b.scratch
	command.Env = append(os.Environ(), "GOGC=off", "GOMEMLIMIT=192MiB")
	var said tail
	command.Stdout, command.Stderr = &said, &said
	err := s.runProcess(command)
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(strings.ReplaceAll(said.String(), b.scratch+"/", ""))
	if text == "" {
		text = name + ": " + err.Error()
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "./")
	}
	return &failure{"CompileError", lines[0], lines}
}
