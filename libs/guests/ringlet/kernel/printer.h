#ifndef RINGLET_PRINTER_H
#define RINGLET_PRINTER_H
#include "types.h"
/* Sends the text and a form feed; bytes sent, or ERROR_IO when no printer answers. */
int printer_print(const char *text, u32 length);
#endif
