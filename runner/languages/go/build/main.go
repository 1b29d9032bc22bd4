// Command forkbox-gobuild is what `go build` comes down to for one program without modules to fetch:
// it orders the packages of the working directory, compiles each and links them, against archives of
// the standard library that were made once (scripts/prepare-go.sh). cmd/go would ask the same
// compiler and linker, after most of its time went into finding out that nothing else has changed.
//
//	forkbox-gobuild -std DIR -tools DIR -o PROGRAM
//
// DIR of -std holds importcfg. Errors read like those of cmd/go; the exit code is 1.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/build"
	"go/scanner"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

// A pkg is one folder of the program.
type pkg struct {
	path    string // as it is imported; "main" is the program itself
	title   string // as errors call it
	folder  string // relative to the working directory, "." for the program itself
	built   *build.Package
	imports []*pkg
	archive string
	state   int // of the walk: 0 not seen, 1 being loaded, 2 loaded
}

type builder struct {
	std     map[string]bool
	stdFile string // the importcfg
	tools   string
	scratch string
	module  string // import path of the working directory
	hasMod  bool
	lang    string // "go1.21"
	context build.Context
	pkgs    map[string]*pkg // by folder
	order   []*pkg          // each after what it imports
	errors  []string
}

func main() {
	std := flag.String("std", "", "folder of the standard library's archives")
	tools := flag.String("tools", "", "folder of compile and link")
	out := flag.String("o", "", "the program")
	flag.Parse()
	b := &builder{
		std:     map[string]bool{},
		stdFile: filepath.Join(*std, "importcfg"),
		tools:   *tools,
		module:  "main",
		context: build.Default,
		pkgs:    map[string]*pkg{},
	}
	b.context.CgoEnabled = false
	b.context.GOROOT = ""
	b.context.GOPATH = ""
	if err := b.readStd(); err != nil {
		fail(err.Error())
	}
	if err := b.readGoMod(); err != nil {
		fail(err.Error())
	}
	root := b.load(".", "main")
	if len(b.errors) == 0 && root.built.Name != "main" {
		b.errors = append(b.errors, "package "+root.title+" is not a main package")
	}
	if len(b.errors) > 0 {
		fail(strings.Join(b.errors, "\n"))
	}
	var err error
	if b.scratch, err = os.MkdirTemp("", "gobuild"); err != nil {
		fail(err.Error())
	}
	config := b.stdFile
	for i, p := range b.order {
		p.archive = filepath.Join(b.scratch, strconv.Itoa(i)+".a")
		b.compile(p, config)
		if len(b.order) > 1 {
			if config, err = b.addArchive(config, p); err != nil {
				fail(err.Error())
			}
		}
	}
	// Neither symbol table nor DWARF: traces of a panic need neither.
	b.run(root.title, "link", "-o", *out, "-importcfg", config, "-buildmode=exe", "-s", "-w", root.archive)
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}

func (b *builder) readStd() error {
	text, err := os.ReadFile(b.stdFile)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "packagefile "); ok {
			name, _, _ := strings.Cut(rest, "=")
			b.std[name] = true
		}
	}
	b.std["unsafe"] = true
	return nil
}

// readGoMod takes the module's path and language version; what else it requires cannot be had here.
func (b *builder) readGoMod() error {
	b.lang = "go" + strings.Join(strings.SplitN(strings.TrimPrefix(runtime.Version(), "go"), ".", 3)[:2], ".")
	file, err := os.Open("go.mod")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "//")
		words := strings.Fields(line)
		if len(words) != 2 {
			continue
		}
		switch words[0] {
		case "module":
			name := words[1]
			if unquoted, err := strconv.Unquote(name); err == nil {
				name = unquoted
			}
			if clean := path.Clean(name); clean != name || path.IsAbs(name) || strings.HasPrefix(name, ".") {
				return fmt.Errorf("go.mod: invalid module path %q", name)
			}
			b.module, b.hasMod = name, true
		case "go":
			parts := strings.SplitN(words[1], ".", 3)
			if len(parts) < 2 || parts[0] != "1" {
				return fmt.Errorf("go.mod: invalid go version '%s': must match format 1.23", words[1])
			}
			minor, err := strconv.Atoi(parts[1])
			if err != nil || minor < 1 {
				return fmt.Errorf("go.mod: invalid go version '%s': must match format 1.23", words[1])
			}
			ours, _ := strconv.Atoi(strings.TrimPrefix(b.lang, "go1."))
			if minor > ours {
				return fmt.Errorf("go: go.mod requires go >= %s (running %s)", words[1], runtime.Version())
			}
			b.lang = "go1." + parts[1]
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("go.mod: %v", err)
	}
	if !b.hasMod {
		return errors.New("go: error reading go.mod: missing module declaration. To specify the module path:\n\tgo mod edit -module=example.com/mod")
	}
	return nil
}

func (b *builder) complain(where, what string) {
	if where != "" {
		what = where + ": " + what
	}
	b.errors = append(b.errors, what)
}

// load reads the imports of a folder and, first, of all that it imports from the same program.
func (b *builder) load(folder, importPath string) *pkg {
	if known := b.pkgs[folder]; known != nil {
		if known.state == 1 {
			b.complain("", "package "+importPath+": import cycle not allowed")
		}
		return known
	}
	p := &pkg{path: importPath, title: importPath, folder: folder, state: 1}
	if folder == "." {
		p.title = "command-line-arguments"
		if b.hasMod {
			p.title = b.module
		}
	}
	b.pkgs[folder] = p
	work, err := os.Getwd()
	if err != nil {
		fail(err.Error())
	}
	p.built, err = b.context.ImportDir(filepath.Join(work, folder), 0)
	if err != nil {
		b.complainOfFolder(p, err, work)
		p.state = 2
		return p
	}
	if len(p.built.SFiles) > 0 {
		b.complain("", p.built.SFiles[0]+": assembly is not supported here")
	}
	for _, name := range p.built.Imports {
		where := ""
		if at := p.built.ImportPos[name]; len(at) > 0 {
			file, err := filepath.Rel(work, at[0].Filename)
			if err != nil {
				file = at[0].Filename
			}
			where = fmt.Sprintf("%s:%d:%d", file, at[0].Line, at[0].Column)
		}
		if imported := b.resolve(name, where); imported != nil {
			p.imports = append(p.imports, imported)
		}
	}
	p.state = 2
	b.order = append(b.order, p)
	return p
}

func (b *builder) complainOfFolder(p *pkg, err error, work string) {
	var list scanner.ErrorList
	var none *build.NoGoError
	switch {
	case errors.As(err, &list):
		for _, item := range list {
			b.complain("", strings.TrimPrefix(item.Error(), work+"/"))
		}
	case errors.As(err, &none):
		for _, name := range p.built.IgnoredGoFiles {
			text, _ := os.ReadFile(filepath.Join(p.folder, name))
			if bytes.Contains(text, []byte(`import "C"`)) {
				b.complain("", filepath.Join(p.folder, name)+": cgo is not available here")
				return
			}
		}
		b.complain("", "package "+p.title+": "+err.Error())
	default:
		b.complain("", strings.ReplaceAll(err.Error(), work+"/", ""))
	}
}

// resolve gives the package of the program behind an import, nil for one of the standard library.
func (b *builder) resolve(name, where string) *pkg {
	if name == "C" {
		b.complain(where, "cgo is not available here")
		return nil
	}
	if strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") {
		b.complain(where, fmt.Sprintf("%q is relative, but relative import paths are not supported in module mode", name))
		return nil
	}
	if name == b.module {
		b.complain(where, fmt.Sprintf("import %q is a program, not an importable package", name))
		return nil
	}
	if rest, ok := strings.CutPrefix(name, b.module+"/"); ok {
		folder := filepath.Clean(rest)
		if info, err := os.Stat(folder); err == nil && info.IsDir() && filepath.IsLocal(folder) {
			found := b.load(folder, name)
			if found.built != nil && found.built.Name == "main" {
				b.complain(where, fmt.Sprintf("import %q is a program, not an importable package", name))
			}
			return found
		}
		b.complain(where, fmt.Sprintf("package %s: there is no folder %s among the files", name, folder))
		return nil
	}
	first, _, _ := strings.Cut(name, "/")
	switch {
	case b.std[name] && !strings.HasPrefix(name, "vendor/"):
		if name == "internal" || strings.HasPrefix(name, "internal/") || strings.Contains(name, "/internal/") ||
			strings.HasSuffix(name, "/internal") {
			b.complain(where, "use of internal package "+name+" not allowed")
		}
	case strings.Contains(first, "."):
		b.complain(where, "no required module provides package "+name+": modules are not downloaded here (there is no network); put its source among the files")
	default:
		b.complain(where, "package "+name+" is not in std")
	}
	return nil
}

func (b *builder) compile(p *pkg, config string) {
	args := []string{"-o", p.archive, "-p", p.path, "-complete", "-importcfg", config, "-pack",
		"-lang=" + b.lang, "-dwarf=false", "-c=" + strconv.Itoa(min(runtime.NumCPU(), 4))}
	if len(p.built.EmbedPatterns) > 0 {
		file, err := b.embed(p)
		if err != nil {
			fail(err.Error())
		}
		args = append(args, "-embedcfg", file)
	}
	for _, name := range p.built.GoFiles {
		if p.folder == "." {
			args = append(args, "./"+name)
		} else {
			args = append(args, filepath.Join(p.folder, name))
		}
	}
	b.run(p.title, "compile", args...)
}

// embed writes what the compiler wants to know of //go:embed: each pattern's files, and where they are.
func (b *builder) embed(p *pkg) (string, error) {
	config := struct {
		Patterns map[string][]string
		Files    map[string]string
	}{map[string][]string{}, map[string]string{}}
	work, err := os.Getwd()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(work, p.folder)
	for _, pattern := range p.built.EmbedPatterns {
		glob, all := strings.CutPrefix(pattern, "all:")
		matches, err := filepath.Glob(filepath.Join(folder, glob))
		if err != nil || len(matches) == 0 || !fs.ValidPath(glob) {
			where := ""
			if at := p.built.EmbedPatternPos[pattern]; len(at) > 0 {
				where = fmt.Sprintf("%s:%d:%d: ", strings.TrimPrefix(at[0].Filename, work+"/"), at[0].Line, at[0].Column)
			}
			return "", fmt.Errorf("%spattern %s: no matching files found", where, pattern)
		}
		names := []string{}
		for _, match := range matches {
			err := filepath.WalkDir(match, func(file string, entry fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				hidden := strings.HasPrefix(entry.Name(), ".") || strings.HasPrefix(entry.Name(), "_")
				if file != match && hidden && !all {
					if entry.IsDir() {
						return filepath.SkipDir
					}
					return nil
				}
				if !entry.Type().IsRegular() {
					return nil
				}
				name, err := filepath.Rel(folder, file)
				if err != nil {
					return err
				}
				names = append(names, name)
				config.Files[name] = file
				return nil
			})
			if err != nil {
				return "", err
			}
		}
		sort.Strings(names)
		config.Patterns[pattern] = names
	}
	text, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	file := p.archive + ".embedcfg"
	return file, os.WriteFile(file, text, 0o600)
}

// addArchive gives an importcfg with one more package than `config`.
func (b *builder) addArchive(config string, p *pkg) (string, error) {
	text, err := os.ReadFile(config)
	if err != nil {
		return "", err
	}
	text = append(text, []byte("packagefile "+p.path+"="+p.archive+"\n")...)
	name := p.archive + ".importcfg"
	return name, os.WriteFile(name, text, 0o600)
}

// run ends the process when the tool fails, after what the tool said under the package's title.
func (b *builder) run(title, tool string, args ...string) {
	command := exec.Command(filepath.Join(b.tools, tool), args...)
	said, err := command.CombinedOutput()
	if err == nil {
		os.Stderr.Write(said)
		return
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || len(said) == 0 {
		said = append(said, []byte(tool+": "+err.Error()+"\n")...)
	}
	fmt.Fprintf(os.Stderr, "# %s\n%s", title, said)
	os.Exit(1)
}
