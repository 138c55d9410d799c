/** A date and time of the Gregorian calendar, UTC. `month` 1–12, `weekday` 0 = Sunday. */
export interface CivilTime { year: number; month: number; day: number; weekday: number; hour: number; minute: number; second: number }

const SECONDS_PER_DAY = 86_400;
const { floor } = Math;

/** From seconds since 1970. After Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days. */
export function civilFromSeconds(seconds: number): CivilTime {
  const days = floor(seconds / SECONDS_PER_DAY);
  const inDay = seconds - days * SECONDS_PER_DAY;
  const shifted = days + 719_468; // Days since 0000-03-01.
  const era = floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = floor((dayOfEra - floor(dayOfEra / 1460) + floor(dayOfEra / 36_524) - floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + floor(yearOfEra / 4) - floor(yearOfEra / 100));
  const monthFromMarch = floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day: dayOfYear - floor((153 * monthFromMarch + 2) / 5) + 1,
    weekday: (((days + 4) % 7) + 7) % 7, hour: floor(inDay / 3600), minute: floor(inDay / 60) % 60, second: inDay % 60,
  };
}

/** To seconds since 1970. Fields out of range carry over, as day 32 of a month does to the next; the weekday is not read. */
export function secondsFromCivil(time: CivilTime): number {
  const monthIndex = time.month - 1;
  const year = time.year + floor(monthIndex / 12);
  const month = monthIndex - floor(monthIndex / 12) * 12 + 1;
  const marchYear = month <= 2 ? year - 1 : year;
  const era = floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5);
  const days = era * 146_097 + yearOfEra * 365 + floor(yearOfEra / 4) - floor(yearOfEra / 100) + dayOfYear - 719_468 + time.day - 1;
  return days * SECONDS_PER_DAY + time.hour * 3600 + time.minute * 60 + time.second;
}
