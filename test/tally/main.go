// Command tally runs test stages one after the other, passes their output on and counts the tests.
//
//	go run ./test/tally 'go test -json ./...' 'some command with the output of go test -v'
//
// Each argument is a shell line. Of `go test -json` it shows the result of every test and the output of those that
// failed; any other output passes unchanged. All stages run, also after a failure. The last line is
// "N passed, N failed"; the exit code is 0 only when nothing failed.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"time"
)

func main() {
	var all counts
	started := time.Now()
	for _, line := range os.Args[1:] {
		all.add(stage(line))
	}
	fmt.Printf("all stages: %v\n", time.Since(started).Round(time.Second))
	if all.skipped > 0 {
		fmt.Printf("%d skipped\n", all.skipped)
	}
	fmt.Printf("%d passed, %d failed\n", all.passed, all.failed)
	if all.failed > 0 {
		os.Exit(1)
	}
}

// stage runs one shell line. Where it fails without any test having failed, the stage itself counts as failed.
func stage(line string) counts {
	started := time.Now()
	fmt.Printf("# %s\n", line)
	cmd := exec.Command("sh", "-c", line)
	cmd.Stderr = os.Stderr
	r := reader{out: os.Stdout}
	output, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		s := bufio.NewScanner(output)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			r.line(s.Text())
		}
		if err = s.Err(); err != nil {
			_ = cmd.Process.Kill()
		}
		if werr := cmd.Wait(); err == nil {
			err = werr
		}
	}
	if err != nil && r.failed == 0 {
		fmt.Printf("--- FAIL: stage: %v\n", err)
		r.failed++
	}
	fmt.Printf("# %d passed, %d failed, %d skipped in %v\n", r.passed, r.failed, r.skipped, time.Since(started).Round(time.Second))
	return r.counts
}
