#!/bin/sh
# Runs the program whose name it is called by in the network namespace of the node's pods.

PATH=@PLUGINS@:/usr/sbin:/usr/bin:/sbin:/bin
exec nsenter --net=/run/netns/pods "${0##*/}" "$@"
