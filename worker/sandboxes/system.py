"""What code in a sandbox sees of the machine besides /usr."""

#: Links into /usr, or directories of their own on older systems.
LINKED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
#: What programs look up: where libraries are, and which of several programs is meant.
FILES = ("/etc/ld.so.cache", "/etc/alternatives")
