/* Part of the static program only, by the link of ./package. See docs/adr/0065-packages.md. */

#include <nss.h>

/* A static C library would load the modules that nsswitch.conf names, which belong to the machine's own version of that
   library: with another version the process crashes at the first name. These services are built in. */
__attribute__((constructor)) static void resolve_by_builtin_services(void) {
  static const char *const databases[] = {"passwd", "group", "protocols", "services", "networks"};

  __nss_configure_lookup("hosts", "files dns");
  for (unsigned at = 0; at < sizeof databases / sizeof *databases; at++)
    __nss_configure_lookup(databases[at], "files");
}
