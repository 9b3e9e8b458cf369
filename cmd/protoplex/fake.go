package main

import "github.com/spf13/cobra"

func fakeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fake",
		Short: "Stand in for somebody else's service on this machine",
	}
	c.AddCommand(fakeSMSCommand())
	return c
}
