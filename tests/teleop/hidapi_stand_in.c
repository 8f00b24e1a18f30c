/* Takes libhidapi-hidraw's place with one SpaceMouse Compact, whose cable is the
   UNIX socket $SERL_HID_SOCKET: each packet is a report, and to close the
   connection is to unplug the mouse. Several sockets, with colons between them,
   are several interfaces. It has the functions that easyhid calls. */

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <wchar.h>

struct hid_device_info {
  char *path;
  unsigned short vendor_id, product_id;
  wchar_t *serial_number;
  unsigned short release_number;
  wchar_t *manufacturer_string, *product_string;
  unsigned short usage_page, usage;
  int interface_number;
  struct hid_device_info *next;
};

typedef struct {
  int cable;
  int nonblocking;
} hid_device;

int hid_init(void) { return 0; }
int hid_exit(void) { return 0; }

struct hid_device_info *hid_enumerate(unsigned short vendor,
                                      unsigned short product) {
  const char *paths = getenv("SERL_HID_SOCKET");
  struct hid_device_info *first = NULL, **next = &first;
  char *copy = strdup(paths ? paths : ""), *rest = copy, *path;
  while ((path = strsep(&rest, ":"))) {
    if (access(path, F_OK)) continue;
    struct hid_device_info *info = calloc(1, sizeof *info);
    info->path = strdup(path);
    info->vendor_id = 0x256f;
    info->product_id = 0xc635;
    *next = info;
    next = &info->next;
  }
  free(copy);
  return first;
}

void hid_free_enumeration(struct hid_device_info *info) {
  while (info) {
    struct hid_device_info *next = info->next;
    free(info->path);
    free(info);
    info = next;
  }
}

hid_device *hid_open_path(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int cable = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  if (connect(cable, (struct sockaddr *)&address, sizeof address)) {
    close(cable);
    return NULL;
  }
  hid_device *device = calloc(1, sizeof *device);
  device->cable = cable;
  return device;
}

int hid_set_nonblocking(hid_device *device, int nonblocking) {
  device->nonblocking = nonblocking;
  return 0;
}

/* As the real one: 0 when no report has come, -1 when there is no device. */
int hid_read(hid_device *device, unsigned char *data, size_t length) {
  struct pollfd ready = {.fd = device->cable, .events = POLLIN};
  if (poll(&ready, 1, device->nonblocking ? 0 : -1) == 0) return 0;
  int count = recv(device->cable, data, length, 0);
  return count > 0 ? count : -1;
}

void hid_close(hid_device *device) {
  close(device->cable);
  free(device);
}
