// Command table writes the test bed's boot table to standard output, for QEMU's -acpitable.
package main

import (
	"fmt"
	"os"

	"github.com/stas-go/stas/test/nbft"
)

func main() {
	b, err := nbft.Table()
	if err == nil {
		_, err = os.Stdout.Write(b)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}
