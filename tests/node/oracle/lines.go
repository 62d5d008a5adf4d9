// Package oracle answers what the API server's own evaluator makes of an expression or a policy.
//
// It exists so that another engine can be held to the server's values, texts and cost units without a server: every
// command reads JSON lines and writes one JSON line for each. Nothing here decides anything; it hands lines to the
// packages the server is built from and prints what they say. It does not authenticate, store or mutate.
package oracle

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// maxLine bounds one input line: the server reads at most 3 MiB of a request, a line holds a few of them.
const maxLine = 32 << 20

// answers reads lines from in and writes what answer makes of each to out; a line it cannot read is answered by an error.
func answers[I, O any](in io.Reader, out io.Writer, answer func(*I) O, failed func(id json.RawMessage, text string) O) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	writer := bufio.NewWriter(out)
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := encoder.Encode(one(lines.Bytes(), answer, failed)); err != nil {
			return err
		}
		// A caller may wait for this answer before it writes the next line.
		if err := writer.Flush(); err != nil {
			return err
		}
	}
	return lines.Err()
}

func one[I, O any](line []byte, answer func(*I) O, failed func(id json.RawMessage, text string) O) (output O) {
	var named struct {
		ID json.RawMessage `json:"id"`
	}
	// The server turns a panic of a handler into a failed request; one bad line must not end the others.
	defer func() {
		if panicked := recover(); panicked != nil {
			output = failed(named.ID, fmt.Sprintf("panic: %v", panicked))
		}
	}()
	input := new(I)
	if err := json.Unmarshal(line, &named); err != nil {
		return failed(nil, err.Error())
	}
	if err := json.Unmarshal(line, input); err != nil {
		return failed(named.ID, err.Error())
	}
	return answer(input)
}
