package edit

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/stas-go/stas/pkg/exclusion"
	"github.com/stas-go/stas/pkg/tid"
)

// Add puts an entry at the end of a list, and makes the list when there is none. An
// entry with the same meaning is not written twice: added is false then. Comments, order
// and everything else in the file stay.
func Add(path, entry string) (added bool, err error) {
	e, err := exclusion.ParseEntry(entry)
	if err != nil {
		return false, fmt.Errorf("cannot exclude %q: %w", tid.HideSecrets(entry), err)
	}
	err = locked(path, true, func() error {
		content, token, err := read(path)
		if err != nil {
			return err
		}
		if token == 0 {
			content = []byte(header)
		}
		if err := Check(path, content); err != nil {
			return err
		}
		entries, _ := exclusion.Parse(bytes.NewReader(content), path)
		if slices.ContainsFunc(entries, e.Equal) {
			return nil
		}
		added = true
		return write(path, insert(content, entries, e), token)
	})
	if err != nil {
		return false, fmt.Errorf("cannot add to exclusion list %s: %w", path, err)
	}
	return added, nil
}

// Remove takes every entry with this meaning out of a list, and returns how many there
// were. The list itself stays. The error for a list that does not exist is fs.ErrNotExist.
func Remove(path, entry string) (removed int, err error) {
	e, err := exclusion.ParseEntry(entry)
	if err != nil {
		return 0, fmt.Errorf("cannot take out %q: %w", tid.HideSecrets(entry), err)
	}
	err = locked(path, false, func() error {
		content, token, err := read(path)
		if err != nil {
			return err
		}
		if token == 0 {
			return fs.ErrNotExist
		}
		lines := linesOf(content)
		entries, _ := exclusion.Parse(bytes.NewReader(content), path)
		for _, old := range slices.Backward(entries) {
			if old.Equal(e) {
				lines = slices.Delete(lines, old.Line-1, old.Line)
				removed++
			}
		}
		if removed == 0 {
			return nil
		}
		return write(path, []byte(strings.Join(lines, "")), token)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot take out of exclusion list %s: %w", path, err)
	}
	return removed, nil
}

// insert adds an entry after the last one, else after the last header of the section,
// else at the end under a header of its own.
func insert(content []byte, entries []exclusion.Entry, e exclusion.Entry) []byte {
	lines := linesOf(content)
	added := []string{"exclusion = " + e.String() + "\n"}
	at := len(lines)
	if n := len(entries); n > 0 {
		at = entries[n-1].Line
	} else if i := lastHeader(lines); i >= 0 {
		at = i + 1
	} else {
		added = append([]string{"\n", "[exclusions]\n"}, added...)
	}
	if at > 0 && !strings.HasSuffix(lines[at-1], "\n") {
		lines[at-1] += "\n"
	}
	return []byte(strings.Join(slices.Insert(lines, at, added...), ""))
}

func lastHeader(lines []string) int {
	for i, line := range slices.Backward(lines) {
		if name, ok := exclusion.Section(line); ok && name == "exclusions" {
			return i
		}
	}
	return -1
}

// linesOf keeps the line ends.
func linesOf(content []byte) []string { return slices.Collect(strings.Lines(string(content))) }
