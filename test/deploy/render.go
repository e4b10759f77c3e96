// Renders the templates of a chart as helm does: Go's text/template, the values as .Values.
// Usage: render CHART NAMESPACE [KEY=VALUE...] <VALUES; VALUES are lines KEY=VALUE, lists and maps JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"
)

func set(values map[string]any, line string) {
	key, value, _ := strings.Cut(line, "=")
	path := strings.Split(key, ".")
	for _, part := range path[:len(path)-1] {
		next, ok := values[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			values[part] = next
		}
		values = next
	}
	var parsed any = value
	if strings.HasPrefix(value, "[") || strings.HasPrefix(value, "{") {
		if err := json.Unmarshal([]byte(value), &parsed); err != nil {
			fail(fmt.Errorf("%s: %w", key, err))
		}
	}
	values[path[len(path)-1]] = parsed
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// As in values.yaml: a blank after ':' and ','. Helm's has none; both are the same YAML.
func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		fail(err)
	}
	return strings.NewReplacer("\":", "\": ", ",", ", ").Replace(string(text))
}

func main() {
	values := map[string]any{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		set(values, lines.Text())
	}
	for _, line := range os.Args[3:] {
		set(values, line)
	}
	files, err := filepath.Glob(filepath.Join(os.Args[1], "templates", "*.yaml"))
	if err != nil || len(files) == 0 {
		fail(fmt.Errorf("no templates: %v", err))
	}
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fail(err)
		}
		t, err := template.New(file).Option("missingkey=error").Funcs(template.FuncMap{"toJson": toJSON}).Parse(string(text))
		if err != nil {
			fail(err)
		}
		data := map[string]any{"Values": values, "Release": map[string]any{"Namespace": os.Args[2]}}
		if err := t.Execute(os.Stdout, data); err != nil {
			fail(err)
		}
	}
}
