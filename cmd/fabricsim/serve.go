package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/stas-go/stas/pkg/fabricsim"
)

// defaultControl is where the control socket is unless something else is said.
const defaultControl = "/run/fabricsim.sock"

type serveOptions struct {
	control      string
	check, quiet bool
}

// serve plays the fabric that a file describes until ctx ends.
func serve(ctx context.Context, path string, o serveOptions) error {
	cfg, err := fabricsim.LoadConfig(path)
	if err == nil && o.check {
		if err = cfg.Check(); err != nil {
			err = fmt.Errorf("cannot use %s: %w", path, err)
		}
	}
	if err != nil || o.check {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if o.quiet {
		log = nil
	}
	f, err := fabricsim.New(cfg, log)
	if err != nil {
		return fmt.Errorf("cannot play %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Ports() {
		fmt.Printf("port %s listens on %s\n", p.Name, p.Address)
	}
	return f.ServeControl(ctx, cmp.Or(o.control, cfg.Control, defaultControl))
}
