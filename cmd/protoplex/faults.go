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
			fmt.Fprintf(out, "  %-19s %s\n  %-19s promise: %s\n", f.Name, f.About, "", f.Promise)
		}
	}
}

func printFault(out io.Writer, f story.Fault) {
	var on []string
	for _, k := range f.On {
		on = append(on, string(k))
	}
	fmt.Fprintf(out, "%s: %s\n", f.Name, f.About)
	fmt.Fprintf(out, "  promise  %s\n", f.Promise)
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
		fmt.Fprintf(out, "  %-8s %s %s%s; %s\n", p.Name, need, p.Type, most, p.About)
	}
	fmt.Fprintf(out, "\ntimeline:\n")
	for line := range strings.Lines(f.Example()) {
		fmt.Fprintf(out, "  %s", line)
	}
}
