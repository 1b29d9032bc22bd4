// Command forkbox-gosession is an interactive session of Go: cells over the channel, descriptor 3,
// one after the other (runner/execd/session_wire.h is the contract).
//
//	forkbox-gosession -std DIR -tools DIR
//
// Go is compiled, so each cell is a program of its own. What it declares at top level (imports,
// types, functions, constants, variables) is there for later cells, which may declare it again; its
// statements are what it does. Values do not live on: a variable of an earlier cell starts as it was
// declared. A last statement that is an expression is the cell's result.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

const (
	channelFd    = 3
	maxFrame     = 16 << 20
	maxText      = 1 << 20
	maxTraceback = 100
)

type session struct {
	channel *os.File
	builder builder
	kept    declarations
	count   int

	mutex       sync.Mutex
	running     *os.Process // guarded by mutex, as is all below
	busy        bool        // with a cell
	interrupted bool
}

// A failure of a cell, as it is told.
type failure struct {
	name      string
	value     string
	traceback []string
}

func main() {
	std := flag.String("std", "", "folder of the standard library's archives")
	tools := flag.String("tools", "", "folder of compile and link")
	flag.Parse()
	// What it starts dies with this thread.
	runtime.LockOSThread()
	syscall.CloseOnExec(channelFd)
	s := &session{channel: os.NewFile(channelFd, "channel")}
	if err := s.builder.open(*std, *tools); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT)
	go func() {
		for range signals {
			s.interrupt()
		}
	}()
	cells := make(chan string, 4)
	go s.read(cells)
	s.send(map[string]any{"ev": "ready", "pid": os.Getpid(), "forks": false})
	for code := range cells {
		s.run(code)
	}
}

// read ends the process when the channel does.
func (s *session) read(cells chan<- string) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(s.channel, size[:]); err != nil {
			break
		}
		length := binary.LittleEndian.Uint32(size[:])
		if length > maxFrame {
			break
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(s.channel, body); err != nil {
			break
		}
		var message struct{ Op, Code string }
		if json.Unmarshal(body, &message) != nil {
			break
		}
		if message.Op == "run" {
			cells <- message.Code
		}
	}
	s.mutex.Lock()
	if s.running != nil {
		s.running.Kill()
	}
	s.builder.close()
	os.Exit(0)
}

func (s *session) send(message map[string]any) {
	body, err := json.Marshal(message)
	if err != nil {
		return
	}
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	if _, err := s.channel.Write(append(frame, body...)); err != nil {
		os.Exit(0)
	}
}

func cut(text string) string {
	if len(text) > maxText {
		return text[:maxText] + "…"
	}
	return text
}

func (s *session) run(code string) {
	s.mutex.Lock()
	s.busy, s.interrupted = true, false
	s.mutex.Unlock()
	s.count++
	result, failed := s.evaluate(code)
	s.mutex.Lock()
	if s.interrupted {
		failed = &failure{"KeyboardInterrupt", "interrupted", []string{"KeyboardInterrupt: interrupted"}}
	}
	s.busy = false
	s.mutex.Unlock()
	if failed != nil {
		lines := failed.traceback
		if len(lines) > maxTraceback {
			lines = lines[:maxTraceback]
		}
		s.send(map[string]any{"ev": "error", "ename": failed.name, "evalue": cut(failed.value), "traceback": lines})
	} else if result != "" {
		s.send(map[string]any{"ev": "result", "count": s.count, "data": map[string]string{"text/plain": cut(result)}})
	}
	s.send(map[string]any{"ev": "done", "count": s.count})
}

func (s *session) evaluate(code string) (string, *failure) {
	c := splitCell(code, s.count)
	kept := s.kept.with(c)
	if len(c.statements) == 0 && len(c.declared) == 0 {
		s.kept = kept // imports at most
		return "", nil
	}
	program, err := s.builder.build(s, c, kept)
	if err != nil {
		return "", err
	}
	s.kept = kept
	if len(c.statements) == 0 && !c.hasMain {
		return "", nil // it declares, and compiles
	}
	return s.execute(program)
}

// interrupt ends the program of the cell, or the compiler that works on it.
func (s *session) interrupt() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.busy {
		return
	}
	s.interrupted = true
	if s.running != nil {
		s.running.Kill()
	}
}
