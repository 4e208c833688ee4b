package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/valyala/fasthttp"
)

// PlainName is the subject that answers from memory.
const PlainName = "plain"

// ServePlain answers GET requests with the answers of a file (as
// StartPlain writes it) until ctx ends: the limit of HTTP on this host. It does what a
// fasthttp server must, and one look-up in a map. When it listens on addr it
// writes the ready file.
func ServePlain(ctx context.Context, addr, answersFile, readyFile string) error {
	answers, err := readAnswers(answersFile)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &fasthttp.Server{
		Handler:               plainHandler(answers),
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		GetOnly:               true,
		CloseOnShutdown:       true,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := writeReadyFile(readyFile, ready{HTTPAddr: listener.Addr().String(), PID: os.Getpid()}); err != nil {
		return errors.Join(err, server.Shutdown(), <-served)
	}
	select {
	case err = <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// Clients that keep their connections open are cut off: they are the load.
	if err := server.ShutdownWithContext(limit); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("shut down: %w", err)
	}
	return <-served
}

// plainHandler answers what is in answers, and 404 to everything else.
func plainHandler(answers []answer) fasthttp.RequestHandler {
	type response struct {
		headers [][2][]byte
		body    []byte
	}
	byURI := make(map[string]*response, len(answers))
	for _, a := range answers {
		r := &response{body: a.Body}
		for _, h := range a.Headers {
			r.headers = append(r.headers, [2][]byte{[]byte(h[0]), []byte(h[1])})
		}
		byURI[a.URI] = r
	}
	return func(ctx *fasthttp.RequestCtx) {
		r := byURI[string(ctx.RequestURI())]
		if r == nil {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
			return
		}
		for _, h := range r.headers {
			ctx.Response.Header.SetCanonical(h[0], h[1])
		}
		ctx.Response.SetBodyRaw(r.body)
	}
}

func writeAnswers(path string, answers []answer) error {
	data, err := json.Marshal(answers)
	if err != nil {
		return fmt.Errorf("write answers: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write answers: %w", err)
	}
	return nil
}

func readAnswers(path string) ([]answer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	var answers []answer
	if err := json.Unmarshal(data, &answers); err != nil {
		return nil, fmt.Errorf("read answers %s: %w", path, err)
	}
	return answers, nil
}

// Plain is a plain server in a process of its own.
type Plain struct{ child *child }

// StartPlain starts a server for the answers of the workloads. dir is for its
// files. args are what comes before its flags: the hidden verb of the
// executable.
func StartPlain(ctx context.Context, executable string, args []string, env []string, dir string, workloads ...*Workload) (*Plain, error) {
	var answers []answer
	for _, w := range workloads {
		if w.answers == nil {
			return nil, fmt.Errorf("start plain server: workload %s writes, and cannot be answered from memory", w.Name)
		}
		answers = append(answers, w.answers()...)
	}
	file, readyFile := filepath.Join(dir, "answers.json"), filepath.Join(dir, "plain-ready.json")
	if err := writeAnswers(file, answers); err != nil {
		return nil, err
	}
	args = append(args[:len(args):len(args)], "--listen", "127.0.0.1:0", "--answers", file, "--ready-file", readyFile)
	c, err := startChild(ctx, childConfig{
		name: PlainName, executable: executable, args: args, env: env, readyFile: readyFile, logFile: filepath.Join(dir, "plain.log"),
	})
	if err != nil {
		return nil, err
	}
	return &Plain{child: c}, nil
}

// Addrs is where the server listens.
func (p *Plain) Addrs() []string { return []string{p.child.ready.HTTPAddr} }

// Processes is the server's.
func (p *Plain) Processes() []Process { return []Process{p.child.process()} }

// Close stops the server. It may be called more than once.
func (p *Plain) Close() error { return p.child.stop() }
