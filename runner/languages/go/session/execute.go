package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A tail is a writer that keeps the end of what it is given.
type tail struct{ kept []byte }

const maxTail = 256 << 10

func (t *tail) Write(bytes []byte) (int, error) {
	t.kept = append(t.kept, bytes...)
	if extra := len(t.kept) - maxTail; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(bytes), nil
}

func (t *tail) String() string { return string(t.kept) }

// runProcess runs what an interrupt is to end.
func (s *session) runProcess(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.WaitDelay = 200 * time.Millisecond // what it leaves behind may hold its output
	s.mutex.Lock()
	if s.interrupted {
		s.mutex.Unlock()
		return os.ErrDeadlineExceeded
	}
	err := command.Start()
	if err == nil {
		s.running = command.Process
	}
	s.mutex.Unlock()
	if err != nil {
		return err
	}
	err = command.Wait()
	s.mutex.Lock()
	s.running = nil
	s.mutex.Unlock()
	if err == exec.ErrWaitDelay {
		return nil
	}
	return err
}

// execute runs the cell's program, and gives what it shows.
func (s *session) execute(program string) (string, *failure) {
	result := filepath.Join(s.builder.scratch, resultFile)
	os.Remove(result)
	command := exec.Command(program)
	command.Args[0] = "main"
	var said tail
	command.Stdout, command.Stderr = os.Stdout, io.MultiWriter(os.Stderr, &said)
	err := s.runProcess(command)
	os.Remove(program)
	if err == nil {
		return read(result), nil
	}
	if exit, ok := err.(*exec.ExitError); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT {
		s.awaitInterrupt()
	}
	// The last one: it may have printed such lines itself.
	text := said.String()
	at := strings.LastIndex("\n"+text, "\npanic: ")
	if at < 0 {
		at = strings.LastIndex("\n"+text, "\nfatal error: ")
	}
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || at < 0 {
		return "", &failure{"ExitError", err.Error(), []string{err.Error()}}
	}
	lines := strings.Split(strings.TrimRight(text[at:], "\n"), "\n")
	_, message, _ := strings.Cut(lines[0], ": ")
	return "", &failure{"Panic", message, lines}
}

// awaitInterrupt gives the signal that has ended the program the time to arrive here, too: it is not
// for the next cell.
func (s *session) awaitInterrupt() {
	for i := 0; i < 50; i++ {
		s.mutex.Lock()
		interrupted := s.interrupted
		s.mutex.Unlock()
		if interrupted {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func read(file string) string {
	in, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer in.Close()
	text, _ := io.ReadAll(io.LimitReader(in, maxText+1))
	return strings.ToValidUTF8(string(text), "\ufffd")
}
