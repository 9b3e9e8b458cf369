package main

import "github.com/spf13/cobra"

func fakeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "fake",
		Short: "Run a stand-in for a service of somebody else on this machine",
	}
	c.AddCommand(fakeDNSCommand(), fakeS3Command(), fakeSMSCommand())
	return c
}
