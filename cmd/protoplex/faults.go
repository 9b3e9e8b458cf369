package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/scenarios/story"
)

func faultsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "faults [NAME]",
		Short: "List what can break, and what the platform promises under it",
		Long: `List the words of the fault vocabulary by family, with what each does to the world and
what the platform promises under it; or show one, with its parameters and an example.`,
		Example: `  protoplex sim faults
  protoplex sim faults latency`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				printFaults(c.OutOrStdout())
				return nil
			}
			f, ok := story.FindFault(args[0])
			if !ok {
				var names []string
				for _, f := range story.Faults {
					names = append(names, f.Name)
				}
				hint := ""
				if near, ok := story.Nearest(args[0], names); ok {
					hint = fmt.Sprintf("; did you mean %s?", near)
				}
				return status{statusUsage, fmt.Errorf("no fault is called %q%s", args[0], hint)}
			}
			printFault(c.OutOrStdout(), f)
			return nil
		},
	}
}

// faultColumn is how wide the names of faults are, and columns all lines at most.
const faultColumn, columns = 20, 100

// wrap breaks a text into lines of a width at most, behind a label as wide as what
// later lines are indented by.
func wrap(label, text string, width int) []string {
	var lines []string
	line, words := label, 0
	for _, word := range strings.Fields(text) {
		if words > 0 && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line, words = strings.Repeat(" ", len(label)), 0
		}
		if words > 0 {
			line += " "
		}
		line += word
		words++
	}
	return append(lines, line)
}

func printFaults(out io.Writer) {
	first := true
	for _, family := range story.Families {
		heading := string(family) + "\n"
		for _, f := range story.Faults {
			if f.Family != family {
				continue
			}
			if heading != "" && !first {
				fmt.Fprintln(out)
			}
			fmt.Fprint(out, heading)
			heading, first = "", false
			name := f.Name
			const width = columns - faultColumn - len("   ")
			for _, line := range append(wrap("", f.About, width), wrap("promise: ", f.Promise, width)...) {
				fmt.Fprintf(out, "  %-*s %s\n", faultColumn, name, line)
				name = ""
			}
		}
	}
}

func printFault(out io.Writer, f story.Fault) {
	var on []string
	for _, k := range f.On {
		on = append(on, string(k))
	}
	for _, line := range append(wrap("", f.Name+": "+f.About, columns), wrap("  promise  ", f.Promise, columns)...) {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "  family   %s\n", f.Family)
	fmt.Fprintf(out, "  strikes  %s\n", strings.Join(on, ", "))
	if f.Providers != nil {
		fmt.Fprintf(out, "           of the providers: %s\n", strings.Join(f.Providers, ", "))
	}
	fmt.Fprintf(out, "  for      %s\n", map[story.Need]string{
		story.Required: "required: it heals by itself after that time",
		story.Optional: "optional: it heals by itself after that time, or lasts to the end",
		story.Never:    "none: it happens in an instant",
	}[f.For])
	for _, p := range f.Params {
		need := "optional"
		if p.Required {
			need = "required"
		}
		most := ""
		if p.Most > 0 {
			most = fmt.Sprintf(", at most %s either way", p.Most)
		}
		kind := string(p.Type)
		if p.Among != nil {
			kind = "one of " + strings.Join(p.Among, ", ")
		}
		fmt.Fprintf(out, "  %-8s %s %s%s; %s\n", p.Name, need, kind, most, p.About)
	}
	fmt.Fprintf(out, "\ntimeline:\n")
	for line := range strings.Lines(f.Example()) {
		fmt.Fprintf(out, "  %s", line)
	}
}
